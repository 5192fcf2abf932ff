//! Where a database server is, and as whom polaris goes to it.

use sqlx::any::AnyConnectOptions;
use sqlx::mysql::MySqlConnectOptions;
use std::fmt;
use std::str::FromStr as _;

const FORM: &str = "mysql://USER:PASSWORD@HOST:PORT/NAME";
/// What may be said after a `?`.
const OPTIONS: [&str; 5] = ["socket", "ssl-mode", "ssl-ca", "ssl-cert", "ssl-key"];

/// `mysql://USER:PASSWORD@HOST:PORT/NAME`, checked. It is shown without the login.
#[derive(Clone)]
pub struct MySqlUrl(AnyConnectOptions);

impl MySqlUrl {
    /// The reason where it is none, which does not quote it.
    pub fn parse(text: &str) -> Result<MySqlUrl, String> {
        let options = AnyConnectOptions::from_str(text).map_err(|error| {
            let reason = reason(error);
            format!("is not {FORM} ({reason}); in a name or a password, / is %2F, # is %23, % is %25")
        })?;
        let url = &options.database_url;
        let mut names = url.path().trim_start_matches('/').split('/');
        let reason = match (names.next(), names.next()) {
            _ if url.scheme() != "mysql" => {
                format!("must be {FORM}, or empty, which means the embedded database")
            }
            _ if url.username().is_empty() => format!("names no user: {FORM}"),
            _ if url.host_str().unwrap_or_default().is_empty() => format!("names no host: {FORM}"),
            _ if url.port() == Some(0) => "the port must be 1 to 65535, got 0".into(),
            _ if url.fragment().is_some() => "has a #, which is written as %23".into(),
            (Some("") | None, _) => format!("names no database: {FORM}"),
            (Some(_), Some(_)) => "the database's name has a /, which is written as %2F".into(),
            _ => return options_known(url.query_pairs()).and_then(|()| driver_takes(options, text)),
        };
        Err(reason)
    }

    /// Whether who reads it could log in.
    pub fn has_password(&self) -> bool {
        self.0.database_url.password().is_some()
    }

    pub(super) fn options(&self) -> &AnyConnectOptions {
        &self.0
    }
}

fn options_known<'a>(
    pairs: impl Iterator<Item = (std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>)>,
) -> Result<(), String> {
    for (key, value) in pairs {
        if !OPTIONS.contains(&&*key) {
            return Err(format!("the option {key:?} is not known: there are {}", OPTIONS.join(", ")));
        }
        if key == "socket" && !value.starts_with('/') {
            return Err(format!("socket must be an absolute path, got {value:?}"));
        }
    }
    Ok(())
}

fn driver_takes(options: AnyConnectOptions, text: &str) -> Result<MySqlUrl, String> {
    MySqlConnectOptions::from_str(text).map_err(reason)?;
    Ok(MySqlUrl(options))
}

fn reason(error: sqlx::Error) -> String {
    match error {
        sqlx::Error::Configuration(inner) => inner.to_string(),
        other => other.to_string(),
    }
}

impl fmt::Display for MySqlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.0.database_url.clone();
        // Whoever cannot have a login has none.
        let _ = (url.set_password(None), url.set_username(""));
        url.fmt(f)
    }
}

impl fmt::Debug for MySqlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_login() {
        for (text, shown) in [
            ("mysql://bob:s%2Fcret@db.example:3306/aspire", "mysql://db.example:3306/aspire"),
            ("mysql://bob@[::1]/aspire?ssl-mode=REQUIRED", "mysql://[::1]/aspire?ssl-mode=REQUIRED"),
            ("mysql://bob:s@h/a?socket=/run/my.sock", "mysql://h/a?socket=/run/my.sock"),
        ] {
            let url = MySqlUrl::parse(text).expect(text);
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.into(), shown.into()));
            assert_eq!(url.has_password(), text.contains(":s"));
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_the_password_is_not() {
        for (text, expected) in [
            ("secret", "is not mysql://"),
            ("postgres://bob:secret@h/a", "must be mysql://"),
            ("mysql://h/a", "names no user"),
            ("mysql://bob:secret@h", "names no database"),
            ("mysql://bob:secret@h/", "names no database"),
            ("mysql://bob:secret@h/a/b", "has a /"),
            ("mysql://bob:sec/ret@h/a", "%2F"),
            ("mysql://bob:1#secret@h/a", "names no user"),
            ("mysql://bob:secret@h:0/a", "the port"),
            ("mysql://bob:secret@h:70000/a", "invalid port number"),
            ("mysql://bob:secret@/a", "empty host"),
            ("mysql://bob:secret@h/a#b", "has a #"),
            (
                "mysql://bob:secret@h/a?sslmode=REQUIRED",
                "the option \"sslmode\" is not known: there are socket,",
            ),
            ("mysql://bob:secret@h/a?ssl-mode=always", "ssl_mode"),
            ("mysql://bob:secret@h/a?socket=run", "socket must be an absolute path"),
        ] {
            let error = MySqlUrl::parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
