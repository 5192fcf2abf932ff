//! Where a daemon's package is may be written with a login, which is for the hosts
//! alone: what is kept and shown of the request is without.

use serde_json::{Map, Value};

/// The method whose `url` may have one.
const METHOD: &str = "daemon.init";

/// Takes the login out of the parameters. The URL as it was, where there was one.
pub fn hide(method: &str, params: &mut Map<String, Value>) -> Option<String> {
    if method == METHOD { hide_of_url(params) } else { None }
}

/// The same of whatever has a `url`.
pub fn hide_of_url(params: &mut Map<String, Value>) -> Option<String> {
    let Some(Value::String(url)) = params.get_mut("url") else { return None };
    let bare = without_login(url)?;
    Some(std::mem::replace(url, bare))
}

/// `None` where there is no login. It ends as the agents read it: with the last `@` before the path.
fn without_login(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (_, server) = authority.rsplit_once('@')?;
    Some(format!("{scheme}://{server}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_taken_out_and_nothing_else() {
        for (url, bare) in [
            ("http://bob:secret@h/web.deb", Some("http://h/web.deb")),
            ("https://bob@h:8080/web.deb?a=b", Some("https://h:8080/web.deb?a=b")),
            ("ftp://bob:s@cret:@[::1]/x@y/web.deb", Some("ftp://[::1]/x@y/web.deb")),
            ("http://:@h/web.deb", Some("http://h/web.deb")),
            ("http://bob:secret@h", Some("http://h")),
            ("http://h/@scope/web.deb", None),
            ("http://h/web.deb?to=bob:secret@h", None),
            ("file:///srv/x@y/web.deb", None),
            ("web@h", None),
        ] {
            assert_eq!(without_login(url).as_deref(), bare, "{url}");
        }
    }

    #[test]
    fn it_is_that_of_a_definition() {
        let url = "http://bob:secret@h/web.deb";
        let params = || Map::from_iter([("url".to_owned(), Value::from(url))]);
        let mut of_other = params();
        assert_eq!(hide("sync.bash", &mut of_other), None);
        assert_eq!(of_other, params());
        let mut of_init = params();
        assert_eq!(hide("daemon.init", &mut of_init).as_deref(), Some(url));
        assert_eq!(of_init["url"], "http://h/web.deb");
        for params in [Map::new(), Map::from_iter([("url".to_owned(), Value::from(1))])] {
            assert_eq!(hide("daemon.init", &mut params.clone()), None);
        }
    }
}
