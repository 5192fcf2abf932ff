use crate::{Here, body, fetched, reason};

#[test]
fn a_file_of_this_host_is_copied() {
    let (here, body) = (Here::new(), body(100_000));
    let source = here.folder.path().join("a b.deb");
    std::fs::write(&source, &body).unwrap();
    let url = format!("file://{}", source.display()).replace(' ', "%20");
    assert_eq!(fetched(&here.fetch(&url, &body)), Ok((100_000, 0)));
    assert_eq!(here.file(), Some(body));
    assert!(source.exists());
}

#[test]
fn what_is_no_file_or_too_large_is_refused() {
    let here = Here::new();
    let missing = format!("file://{}/missing", here.folder.path().display());
    assert!(reason(&here.fetch(&missing, b"")).contains("could not open it"));
    assert!(reason(&here.fetch("file:///dev/zero", b"")).contains("no regular file"));
    let pipe = here.folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(reason(&here.fetch(&format!("file://{}", pipe.display()), b"")).contains("no regular file"));
    let large = here.folder.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(2 << 20).unwrap();
    assert!(reason(&here.fetch(&format!("file://{}", large.display()), b"")).contains("at most 1048576"));
}
