//! Where the server is and what opens it: from the flags, the environment
//! (clap reads both), or the data directory of a polaris on this machine.

use super::args::Args;
use super::error::Error;
use serde::Deserialize;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use ureq::http::Uri;

#[derive(Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Without a slash at the end.
    pub url: String,
    pub token: String,
    /// Whether the server is on this machine.
    pub local: bool,
}

/// What polaris writes into its data directory once it is ready.
#[derive(Deserialize)]
struct Listen {
    web: String,
}

impl Endpoint {
    pub fn find(args: &Args) -> Result<Endpoint, Error> {
        let url = match &args.url {
            Some(url) => url.clone(),
            None => from_data(&args.data)?,
        };
        let url = url.trim_end_matches('/').to_owned();
        // What stands in the data directory is here, on whatever address it listens.
        let local = is_local(&url)? || args.url.is_none();
        let token = match &args.token {
            Some(token) => token.trim().to_owned(),
            None if local => {
                let path = args.data.join("admin.token");
                let token = fs::read_to_string(&path).map_err(|source| Error::NoToken { path, source })?;
                token.trim().to_owned()
            }
            None => return Err(Error::ForeignServer { url }),
        };
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::Usage(
                "the token must be printable ASCII without blanks, and not empty".into(),
            ));
        }
        Ok(Endpoint { url, token, local })
    }
}

fn from_data(data: &Path) -> Result<String, Error> {
    let path = data.join("listen.json");
    let missing = |source| Error::NoServer { path: path.clone(), source };
    let text = fs::read(&path).map_err(missing)?;
    let listen: Listen = serde_json::from_slice(&text).map_err(|error| missing(error.into()))?;
    Ok(listen.web)
}

/// Also refuses what is no URL of a server, or not one to send a token to.
fn is_local(url: &str) -> Result<bool, Error> {
    let wrong = || Error::Usage(format!("--url {url:?}: it must look like https://HOST[:PORT]"));
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let host = uri.host().ok_or_else(wrong)?;
    if uri.query().is_some() || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(wrong());
    }
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(local),
        Some("http") if local => Ok(true),
        Some("http") => Err(Error::ClearText { url: url.to_owned() }),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn find(data: &Path, words: &[&str]) -> Result<Endpoint, Error> {
        let data = data.to_str().unwrap();
        Endpoint::find(&Args::parse_from([&["polarisctl", "--data", data], words, &["hosts"]].concat()))
    }

    #[test]
    fn the_data_directory_says_all_that_is_needed() {
        let data = tempfile::tempdir().unwrap();
        assert!(matches!(find(data.path(), &[]), Err(Error::NoServer { .. })));
        fs::write(data.path().join("listen.json"), r#"{"web":"http://127.0.0.1:8180","agents":"x","pid":1}"#)
            .unwrap();
        assert!(matches!(find(data.path(), &[]), Err(Error::NoToken { .. })));
        fs::write(data.path().join("admin.token"), "secret\n").unwrap();
        let expected = Endpoint { url: "http://127.0.0.1:8180".into(), token: "secret".into(), local: true };
        assert_eq!(find(data.path(), &[]).unwrap(), expected);
        let given = find(data.path(), &["--url", "http://localhost:1/", "--token", "t"]).unwrap();
        assert_eq!(given, Endpoint { url: "http://localhost:1".into(), token: "t".into(), local: true });
    }

    #[test]
    fn the_server_of_the_data_directory_is_on_this_machine_wherever_it_listens() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("admin.token"), "secret\n").unwrap();
        for (web, good) in
            [("https://0.0.0.0:8180", true), ("https://10.0.0.1", true), ("http://10.0.0.1", false)]
        {
            fs::write(data.path().join("listen.json"), format!(r#"{{"web":"{web}"}}"#)).unwrap();
            let found = find(data.path(), &[]);
            assert_eq!(found.is_ok_and(|endpoint| endpoint.local), good, "{web}");
        }
    }

    #[test]
    fn this_machines_token_stays_on_it() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("admin.token"), "secret\n").unwrap();
        let foreign = find(data.path(), &["--url", "https://polaris.example.com"]);
        assert!(matches!(foreign, Err(Error::ForeignServer { .. })), "{foreign:?}");
    }

    #[test]
    fn a_token_never_travels_in_clear_text() {
        for url in
            ["http://10.1.1.1:8180", "http://polaris", "http://localhost.example.com", "http://[2001:db8::1]"]
        {
            assert!(matches!(is_local(url), Err(Error::ClearText { .. })), "{url}");
        }
        for url in ["http://127.0.0.1:8180", "http://127.8.9.1", "http://[::1]:1", "http://localhost"] {
            assert!(matches!(is_local(url), Ok(true)), "{url}");
        }
        assert!(matches!(is_local("https://10.1.1.1"), Ok(false)));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["", "polaris", "polaris:8180", "ftp://polaris", "https://", "https://a?b", "https://a@b"]
        {
            assert!(matches!(is_local(url), Err(Error::Usage(_))), "{url}");
        }
    }
}
