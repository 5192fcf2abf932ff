//! A file by http and https. A part is taken up with `Range`, on the condition
//! (`If-Range`) that the file is still the one it is a part of.

use crate::SILENCE;
use crate::error::printable;
use crate::part::{Origin, Part};
use crate::stream::Dial;
use crate::url::{Place, Protocol, Remote};
use base64::Engine as _;
use std::path::Path;
use std::time::Duration;
use ureq::config::RedirectAuthHeaders;
use ureq::http::header::{self, HeaderMap, HeaderValue};
use ureq::http::{Response, StatusCode};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Agent, Body};

const MOST_REDIRECTS: u32 = 5;
const MOST_HEADER_BYTES: usize = 32 * 1024;

/// Fills the part; says where it went on. `known` is what it is a part of.
pub(crate) fn download(
    remote: &Remote,
    identity: Option<&Path>,
    silence: Duration,
    known: Option<Origin>,
    part: &mut Part,
) -> Result<u64, String> {
    let agent = agent(Dial::new(identity, silence));
    let mut known = known;
    loop {
        let offset = known.as_ref().map_or(0, |_| part.len());
        let response = ask(&agent, remote, known.as_ref().map(|origin| (offset, &*origin.validator)))?;
        match (response.status(), known.take()) {
            (StatusCode::OK, _) => {
                let validator = validator(response.headers());
                let expected = content_length(response.headers());
                expected.map_or(Ok(()), |bytes| part.check_size(bytes))?;
                let origin = validator.map(|validator| Origin::new(remote.id(), validator));
                part.begin(origin.as_ref())?;
                return part.fill(response.into_body().into_reader(), expected).map(|()| 0);
            }
            (StatusCode::PARTIAL_CONTENT, Some(origin)) if goes_on(&response, offset, &origin) => {
                let total = total(response.headers());
                total.map_or(Ok(()), |bytes| part.check_size(bytes))?;
                let expected = total.map(|total| total.saturating_sub(offset));
                part.fill(response.into_body().into_reader(), expected)?;
                return Ok(offset);
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) if total(response.headers()) == Some(offset) => {
                return Ok(offset);
            }
            // It answers about another file, or about another part of it: from its beginning, then.
            (StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => {}
            (status, _) => return Err(refusal(status)),
        }
    }
}

/// Whether a web server is well: its status is 200 to 399. A redirect is not followed, and nothing of
/// the body is read.
///
/// # Errors
/// Why it is not, with its URL.
pub fn answers(url: &str) -> Result<(), String> {
    let place = Place::parse(url)?;
    let failed = |reason: String| format!("{place}: {reason}");
    let Place::Remote(remote) = &place else { return Err(failed("is not of http or https".into())) };
    if remote.protocol == Protocol::Ftp {
        return Err(failed("is not of http or https".into()));
    }
    let agent = agent_that_follows(0, Dial::new(None, SILENCE));
    let status = ask(&agent, remote, None).map_err(failed)?.status();
    if (200..400).contains(&status.as_u16()) { Ok(()) } else { Err(failed(refusal(status))) }
}

fn refusal(status: StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or("a status that nobody knows");
    format!("the server answered {} {reason}", status.as_u16())
}

fn agent(dial: Dial) -> Agent {
    agent_that_follows(MOST_REDIRECTS, dial)
}

fn agent_that_follows(redirects: u32, dial: Dial) -> Agent {
    let config = Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(redirects)
        .max_redirects_will_error(redirects > 0)
        .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        .max_response_header_size(MOST_HEADER_BYTES)
        .user_agent(concat!("gearman/", env!("CARGO_PKG_VERSION")))
        .build();
    Agent::with_parts(config, dial, DefaultResolver::default())
}

/// Asks for the file, or for what follows an offset in it.
fn ask(agent: &Agent, remote: &Remote, part: Option<(u64, &str)>) -> Result<Response<Body>, String> {
    let mut request = agent.get(remote.uri.clone());
    if let Some(login) = &remote.login {
        let pair = format!("{}:{}", login.user, login.password);
        let words = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        let mut value = HeaderValue::from_str(&words).map_err(|_| "the login fits in no header")?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    if let Some((offset, validator)) = part {
        request =
            request.header(header::RANGE, format!("bytes={offset}-")).header(header::IF_RANGE, validator);
    }
    request.call().map_err(reason)
}

fn reason(error: ureq::Error) -> String {
    let words = match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => "there is no such host".into(),
        ureq::Error::TooManyRedirects => format!("the server redirects more than {MOST_REDIRECTS} times"),
        // It would show where to, with a password perhaps.
        ureq::Error::BadUri(_) => "the server redirects to what is no http or https URL".into(),
        error => error.to_string(),
    };
    printable(&words)
}

/// What tells this file from its next version: a strong ETag, else a date.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let tag = text(header::ETAG).filter(|tag| tag.starts_with('"'));
    tag.or_else(|| text(header::LAST_MODIFIED)).map(str::to_owned)
}

/// Whether a partial answer is of the same file and begins where ours ends.
/// Not every server heeds the condition.
fn goes_on(response: &Response<Body>, offset: u64, origin: &Origin) -> bool {
    let same = validator(response.headers()).is_none_or(|validator| validator == origin.validator);
    same && content_range(response.headers()).is_some_and(|(start, _)| start == Some(offset))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

fn total(headers: &HeaderMap) -> Option<u64> {
    content_range(headers)?.1
}

/// Where a part begins and how long the whole is: `bytes 5-9/10`, `bytes */10`.
fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-').and_then(|(start, _)| start.trim().parse().ok());
    Some((start, total.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::{content_range, validator};
    use ureq::http::HeaderMap;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_weak_tag_does_not_tell_two_files_apart() {
        assert_eq!(
            validator(&headers(&[("etag", "\"a\""), ("last-modified", "x")])).as_deref(),
            Some("\"a\"")
        );
        assert_eq!(validator(&headers(&[("etag", "W/\"a\""), ("last-modified", "x")])).as_deref(), Some("x"));
        assert_eq!(validator(&headers(&[("etag", "W/\"a\"")])), None);
        assert_eq!(validator(&headers(&[])), None);
    }

    #[test]
    fn a_part_s_place_in_the_whole_is_read() {
        let range = |text: &str| content_range(&headers(&[("content-range", text)]));
        assert_eq!(range("bytes 5-9/10"), Some((Some(5), Some(10))));
        assert_eq!(range("bytes */10"), Some((None, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((Some(5), None)));
        assert_eq!(range("pages 5-9/10"), None);
        assert_eq!(range("bytes 5"), None);
    }
}
