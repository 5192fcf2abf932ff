//! Where a package comes from.

use crate::error::printable;
use percent_encoding::percent_decode_str;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use ureq::http::Uri;

/// A URL that was understood. Shown without user, password and query.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    File(PathBuf),
    Remote(Remote),
}

/// A file of a server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    pub protocol: Protocol,
    pub login: Option<Login>,
    /// Without the login.
    pub uri: Uri,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Https,
    Ftp,
}

/// Decoded. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub user: String,
    pub password: String,
}

impl Place {
    pub fn parse(url: &str) -> Result<Place, String> {
        let wrong = |reason: &str| format!("url: {reason}, got {:?}", without_secrets(url));
        if url.contains(|c: char| c.is_control() || c == ' ') {
            return Err(wrong("must have no spaces or control characters"));
        }
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| wrong("must begin with a scheme and ://"))?;
        let protocol = match scheme.to_ascii_lowercase().as_str() {
            "file" => return file(rest).map(Place::File).ok_or_else(|| wrong("must be file:///path")),
            "http" => Protocol::Http,
            "https" => Protocol::Https,
            "ftp" => Protocol::Ftp,
            _ => return Err(wrong("must be http, https, ftp or file")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (login, server) = match authority.rsplit_once('@') {
            Some((login, server)) => {
                let login =
                    Login::parse(login).ok_or_else(|| wrong("user and password must be plain text"))?;
                (Some(login), server)
            }
            None => (None, authority),
        };
        let uri = format!("{}://{server}{path}", scheme.to_ascii_lowercase());
        let uri: Uri = uri.parse().map_err(|error| wrong(&format!("{error}")))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(wrong("must name a host"));
        }
        // A port that is no number, or too large a one, is read as none.
        if uri.port_u16().is_none() && uri.host() != Some(server) {
            return Err(wrong("must have a number from 0 to 65535 as its port"));
        }
        Ok(Place::Remote(Remote { protocol, login, uri }))
    }
}

impl Remote {
    /// What tells it from every other file, its query included: not to be shown.
    pub fn id(&self) -> String {
        self.uri.to_string()
    }

    /// Without the brackets around an IPv6 address.
    pub fn host(&self) -> &str {
        let host = self.uri.host().unwrap_or_default();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }
}

impl Login {
    fn parse(text: &str) -> Option<Login> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8().ok()?;
            // What would end a header, or a command of FTP.
            (!text.contains(char::is_control)).then(|| text.into_owned())
        };
        Some(Login { user: decoded(user)?, password: decoded(password)? })
    }
}

/// `/path` or `localhost/path`, decoded.
fn file(rest: &str) -> Option<PathBuf> {
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    let bytes: Vec<u8> = percent_decode_str(path).collect();
    let plain = path.starts_with('/') && !path.contains(['?', '#']) && !bytes.contains(&0);
    plain.then(|| PathBuf::from(OsStr::from_bytes(&bytes)))
}

/// What can be shown of a URL that may not be one: nothing before its last `@`,
/// and no query.
fn without_secrets(url: &str) -> String {
    let shown = url.split(['?', '#']).next().unwrap_or_default();
    match shown.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => shown.to_owned(),
    }
}

/// A URL as messages show it: without login and query, and on one line, whether it is a good one
/// or not.
#[must_use]
pub fn without_login(url: &str) -> String {
    printable(&Place::parse(url).map_or_else(|_| without_secrets(url), |place| place.to_string()))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "file://{}", path.display()),
            Place::Remote(remote) => fmt::Display::fmt(remote, f),
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let server = self.uri.authority().map_or("", |authority| authority.as_str());
        let query = if self.uri.query().is_some() { "?…" } else { "" };
        write!(f, "{scheme}://{server}{}{query}", self.uri.path())
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Protocol, Remote, without_login};
    use std::path::PathBuf;

    fn remote(url: &str) -> Remote {
        match Place::parse(url).unwrap() {
            Place::Remote(remote) => remote,
            Place::File(path) => panic!("{}", path.display()),
        }
    }

    #[test]
    fn a_login_is_taken_out_and_decoded() {
        let remote = remote("HTTP://us%40er:p%3Ass%2F@h.example:81/a/b.deb?c=d");
        let login = remote.login.clone().unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str()), ("us@er", "p:ss/"));
        assert_eq!(remote.uri.to_string(), "http://h.example:81/a/b.deb?c=d");
        assert_eq!(remote.to_string(), "http://h.example:81/a/b.deb?…");
        assert_eq!(format!("{remote:?} {login:?}"), "http://h.example:81/a/b.deb?… Login(…)");
    }

    #[test]
    fn servers_and_files_are_told_apart() {
        assert_eq!(remote("ftp://[::1]:2121/x").host(), "::1");
        assert_eq!(remote("ftp://h/x").protocol, Protocol::Ftp);
        assert_eq!(remote("https://h/x").protocol, Protocol::Https);
        assert_eq!(Place::parse("file:///a/b%20c"), Ok(Place::File(PathBuf::from("/a/b c"))));
        assert_eq!(Place::parse("file://localhost/a"), Ok(Place::File(PathBuf::from("/a"))));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_password_is_shown() {
        let cases = [
            ("", "scheme"),
            ("user:secret@host/x", "scheme"),
            ("scp://user:secret@host/x", "must be http, https, ftp or file"),
            ("http://user:sec/ret@host/x", "port"),
            ("http://host:65536/x", "port"),
            ("http://host:/x", "port"),
            ("http://user:secret@/x", "url: "),
            ("http://user:secret%0d%0a@host/x", "plain text"),
            ("http://user:sec ret@host/x", "spaces"),
            ("http:///x?token=secret", "url: "),
            ("file://other/x", "file:///path"),
            ("file:///a%00b", "file:///path"),
        ];
        for (url, reason) in cases {
            let error = Place::parse(url).unwrap_err();
            assert!(error.starts_with("url: ") && error.contains(reason), "{url}: {error}");
            assert!(!error.contains("sec"), "{url}: {error}");
        }
    }

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        for (url, shown) in [
            ("https://user:secret@h.example/a.deb?token=secret#x", "https://h.example/a.deb?…"),
            ("http://user:sec/ret@host/x?secret", "…@host/x"),
            ("ftp://h/%41", "ftp://h/%41"),
            ("file:///a%0ab", "file:///a b"),
            ("nonsense\n", "nonsense"),
        ] {
            assert_eq!(without_login(url), shown);
        }
    }
}
