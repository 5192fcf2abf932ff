//! Where something is in the packages' folder, made of names that were checked.

use super::PackageError;
use crate::limits::{MAX_PACKAGE_NAME_BYTES, MAX_PACKAGE_PATH_BYTES};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::fmt;

/// What stands as itself in a URL (RFC 3986's unreserved characters).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// See the module. Shown as people write it: `pool/web.deb`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackagePath {
    names: Vec<String>,
    /// Whether it was written as a folder's, with a slash at its end.
    slash: bool,
}

impl PackagePath {
    /// What follows `/packages/` in a URL. It is decoded once, and what is then no plain name is refused.
    pub fn of_url(rest: &str) -> Result<PackagePath, PackageError> {
        let names =
            rest.split('/').map(decoded).collect::<Result<Vec<_>, _>>().map_err(PackageError::Path)?;
        PackagePath::of_names(names)
    }

    /// The same as people write it, without anything encoded.
    pub fn of_text(text: &str) -> Result<PackagePath, PackageError> {
        PackagePath::of_names(text.split('/').map(str::to_owned).collect())
    }

    fn of_names(mut names: Vec<String>) -> Result<PackagePath, PackageError> {
        // The folder itself is the empty text; one with a slash at its end has an empty name behind it.
        let slash = names.pop_if(|last| last.is_empty()).is_some();
        let bytes = names.iter().map(|name| name.len() + 1).sum::<usize>().saturating_sub(1);
        if bytes > MAX_PACKAGE_PATH_BYTES {
            let reason = format!("the path must be at most {MAX_PACKAGE_PATH_BYTES} bytes, got {bytes}");
            return Err(PackageError::Path(reason));
        }
        for name in &names {
            check(name).map_err(|reason| PackageError::Path(format!("{name:?} in the path {reason}")))?;
        }
        Ok(PackagePath { names, slash })
    }

    pub fn is_root(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether it can be a folder's alone.
    pub fn is_folder(&self) -> bool {
        self.slash
    }

    /// The last name; the folder itself has none.
    pub fn name(&self) -> Option<&str> {
        self.names.last().map(String::as_str)
    }

    /// The folders on the way, the outermost first.
    pub fn parents(&self) -> &[String] {
        self.names.split_last().map_or(&[], |(_, parents)| parents)
    }

    /// Where it is on either listener.
    pub fn url(&self) -> String {
        let mut url = "/packages".to_owned();
        for name in &self.names {
            url.push('/');
            url.push_str(&PackagePath::encoded(name));
        }
        if self.slash {
            url.push('/');
        }
        url
    }

    /// A name as it stands in a URL.
    pub fn encoded(name: &str) -> String {
        utf8_percent_encode(name, ENCODED).to_string()
    }

    /// As the kernel takes it, from the folder on.
    pub fn relative(&self) -> String {
        if self.is_root() { ".".into() } else { self.names.join("/") }
    }
}

impl fmt::Display for PackagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join("/"))?;
        f.write_str(if self.slash { "/" } else { "" })
    }
}

fn decoded(name: &str) -> Result<String, String> {
    let whole = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !name.split('%').skip(1).all(whole) {
        return Err(format!("{name:?} in the path has a % that two hexadecimal digits do not follow"));
    }
    let text = percent_decode_str(name).decode_utf8();
    text.map(String::from).map_err(|_| format!("{name:?} in the path is not UTF-8"))
}

/// Whether a file or a folder may have this name.
fn check(name: &str) -> Result<(), String> {
    match name {
        "" => Err("is empty".into()),
        "." | ".." => Err("is not a name".into()),
        _ if name.starts_with('.') => Err("begins with a dot: such names are hidden".into()),
        _ if name.len() > MAX_PACKAGE_NAME_BYTES => {
            Err(format!("must be at most {MAX_PACKAGE_NAME_BYTES} bytes, got {}", name.len()))
        }
        _ if name.contains(['/', '\\']) => Err("must not contain a slash or a backslash".into()),
        _ if name.chars().any(char::is_control) => Err("must not contain control characters".into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_a_path_is_taken_apart() {
        for (rest, names, folder) in [
            ("", &[][..], true),
            ("a.deb", &["a.deb"], false),
            ("pool/", &["pool"], true),
            ("pool/m%C3%BCll%20%2B1.rpm", &["pool", "müll +1.rpm"], false),
            ("a%25b", &["a%b"], false),
            ("%252e%252e", &["%2e%2e"], false),
            ("..a...", &[], false),
        ] {
            let path = PackagePath::of_url(rest);
            if names.is_empty() && !folder {
                assert!(path.is_err(), "{rest}");
                continue;
            }
            let path = path.unwrap();
            assert_eq!((path.names.as_slice(), path.is_folder()), (&names.map_owned()[..], folder), "{rest}");
        }
    }

    trait Owned {
        fn map_owned(&self) -> Vec<String>;
    }

    impl Owned for [&str] {
        fn map_owned(&self) -> Vec<String> {
            self.iter().map(ToString::to_string).collect()
        }
    }

    #[test]
    fn what_is_hostile_is_refused_with_the_reason() {
        let long = "x".repeat(256);
        let deep = vec!["0123456789"; 400].join("/");
        for (rest, reason) in [
            ("..", "is not a name"),
            ("../etc/passwd", "is not a name"),
            ("a/../b", "is not a name"),
            ("a/./b", "is not a name"),
            ("..%2fetc", "begins with a dot"),
            ("%2e%2e/etc", "is not a name"),
            ("%2E", "is not a name"),
            ("a%2fb", "slash"),
            ("a%5cb", "slash"),
            ("a\\b", "slash"),
            ("a%00b", "control"),
            ("a%0ab", "control"),
            ("a%c2%85b", "control"),
            ("//", "is empty"),
            ("a//b", "is empty"),
            ("/etc/passwd", "is empty"),
            ("%2fetc", "slash"),
            (".upload-1", "begins with a dot"),
            ("a/.htaccess", "begins with a dot"),
            ("a%", "%"),
            ("a%2", "%"),
            ("a%zz", "%"),
            ("%ff", "UTF-8"),
            ("%c0%ae%c0%ae/x", "UTF-8"),
            (&long, "at most 255 bytes, got 256"),
            (&deep, "at most 4095 bytes, got 4399"),
        ] {
            let error = PackagePath::of_url(rest).expect_err(rest).to_string();
            assert!(error.contains(reason), "{rest}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_taken_climbs_or_hides(rest in "[a-b./%0-9A-F\\\\\u{0}-\u{20}]{0,24}") {
            if let Ok(path) = PackagePath::of_url(&rest) {
                for name in &path.names {
                    prop_assert!(check(name).is_ok());
                    prop_assert!(!name.contains('/') && !name.starts_with('.') && !name.is_empty());
                }
            }
        }

        #[test]
        fn a_path_comes_back_from_its_url(names in proptest::collection::vec("[^./\\\\\\p{C}][^/\\\\\\p{C}]{0,20}", 0..4)) {
            let path = PackagePath::of_text(&names.join("/")).unwrap();
            let url = path.url();
            prop_assert!(url.bytes().all(|byte| byte.is_ascii_graphic()));
            let rest = url.strip_prefix("/packages").unwrap();
            prop_assert_eq!(PackagePath::of_url(rest.strip_prefix('/').unwrap_or(rest)).unwrap(), path);
        }
    }
}
