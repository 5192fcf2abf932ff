//! A file on its way to whoever asked: conditions, ranges, and what keeps a
//! page that somebody uploaded from acting as one of ours.

use crate::limits::PACKAGE_CHUNK_BYTES;
use crate::packages::range::{self, Wanted};
use crate::packages::{PackagePath, Room, Stored};
use crate::problem::Problem;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use futures_util::stream;
use headers::{
    ETag, Header, HeaderMapExt as _, IfMatch, IfModifiedSince, IfNoneMatch, IfRange, IfUnmodifiedSince,
    LastModified,
};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The file, a part of it, or that it need not be sent.
pub fn file(
    file: Stored,
    path: &PackagePath,
    headers: &HeaderMap,
    room: Option<Room>,
) -> Result<Response<Body>, Problem> {
    let tag = file.etag();
    let etag: ETag = tag.parse().expect("a tag of ours is one");
    let modified = UNIX_EPOCH + Duration::from_millis(u64::try_from(file.modified()).unwrap_or(0));
    let mut response = Response::new(Body::empty());
    let answer = response.headers_mut();
    answer.typed_insert(etag.clone());
    answer.typed_insert(LastModified::from(modified));
    answer.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    match precondition(headers, &etag, modified)? {
        StatusCode::OK => {}
        status if status == StatusCode::NOT_MODIFIED => {
            *response.status_mut() = status;
            return Ok(response);
        }
        status => {
            let reason = format!("{path} is not the one that If-Match or If-Unmodified-Since names");
            return Err(Problem::new(status, reason));
        }
    }
    let size = file.size();
    let part = match part(headers, &etag, modified, size)? {
        Wanted::Unsatisfiable => {
            let reason = format!("{path} has {size} bytes, and none of those that Range names");
            let mut response = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, reason).into_response();
            response.headers_mut().insert(header::CONTENT_RANGE, value(format!("bytes */{size}")));
            return Ok(response);
        }
        Wanted::Whole => 0..size,
        Wanted::Part(part) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            response.headers_mut().insert(header::CONTENT_RANGE, value(range));
            part
        }
    };
    let answer = response.headers_mut();
    let kind = Kind::of(path.name().unwrap_or_default());
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind.name));
    answer.insert(header::CONTENT_LENGTH, value((part.end - part.start).to_string()));
    answer.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Nothing in it runs, opens a form or speaks for this server, even where a browser shows it.
    answer.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'"),
    );
    if kind.acts {
        answer.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    if let Some(sum) = file.known_sum() {
        answer.insert("repr-digest", value(sum.digest_field()));
    }
    *response.body_mut() = contents(file, part, room);
    Ok(response)
}

/// OK, or the status that goes without the file (RFC 9110, section 13.2.2).
fn precondition(headers: &HeaderMap, etag: &ETag, modified: SystemTime) -> Result<StatusCode, Problem> {
    let is_it = match (read::<IfMatch>(headers)?, read::<IfUnmodifiedSince>(headers)?) {
        (Some(tags), _) => tags.precondition_passes(etag),
        (None, Some(since)) => since.precondition_passes(modified),
        (None, None) => true,
    };
    if !is_it {
        return Ok(StatusCode::PRECONDITION_FAILED);
    }
    let is_news = match (read::<IfNoneMatch>(headers)?, read::<IfModifiedSince>(headers)?) {
        (Some(tags), _) => tags.precondition_passes(etag),
        (None, Some(since)) => since.is_modified(modified),
        (None, None) => true,
    };
    Ok(if is_news { StatusCode::OK } else { StatusCode::NOT_MODIFIED })
}

fn part(headers: &HeaderMap, etag: &ETag, modified: SystemTime, size: u64) -> Result<Wanted, Problem> {
    let Some(range) = headers.get(header::RANGE).and_then(|range| range.to_str().ok()) else {
        return Ok(Wanted::Whole);
    };
    // A part is of no use to somebody who has the rest of another file.
    let is_another = read::<IfRange>(headers)?
        .is_some_and(|known| known.is_modified(Some(etag), Some(&LastModified::from(modified))));
    Ok(if is_another { Wanted::Whole } else { range::wanted(range, size) })
}

/// A header that says under which condition; one that is not understood must not be taken for none.
pub fn read<H: Header>(headers: &HeaderMap) -> Result<Option<H>, Problem> {
    headers.typed_try_get().map_err(|_| {
        let reason = format!("the header {} is not understood", H::name());
        Problem::new(StatusCode::BAD_REQUEST, reason)
    })
}

fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits and ASCII")
}

/// Read as it is sent, piece by piece: somebody who reads slowly costs one.
fn contents(file: Stored, part: Range<u64>, room: Option<Room>) -> Body {
    Body::from_stream(stream::try_unfold((Arc::new(file), part, room), async |(file, part, room)| {
        let most = usize::try_from(part.end - part.start).unwrap_or(usize::MAX).min(PACKAGE_CHUNK_BYTES);
        if most == 0 {
            return Ok(None);
        }
        let (source, at) = (file.clone(), part.start);
        let bytes = tokio::task::spawn_blocking(move || source.read(at, most)).await??;
        if bytes.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let rest = at + bytes.len() as u64..part.end;
        Ok(Some((bytes, (file, rest, room))))
    }))
}

struct Kind {
    name: &'static str,
    /// Whether a browser that opens it lets it act.
    acts: bool,
}

impl Kind {
    /// What a file of this name is; what is not known is bytes.
    fn of(file: &str) -> Kind {
        let ending = file.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
        let name = match ending.as_str() {
            "deb" => "application/vnd.debian.binary-package",
            "rpm" => "application/x-rpm",
            "gz" | "tgz" => "application/gzip",
            "xz" => "application/x-xz",
            "bz2" => "application/x-bzip2",
            "zst" => "application/zstd",
            "tar" => "application/x-tar",
            "zip" => "application/zip",
            "json" => "application/json",
            "txt" | "log" | "conf" | "toml" | "md" | "sh" | "asc" | "sha256" => "text/plain; charset=utf-8",
            "png" => "image/png",
            "jpg" | "jpeg" => "image/jpeg",
            "pdf" => "application/pdf",
            "html" | "htm" => "text/html; charset=utf-8",
            "svg" => "image/svg+xml",
            "xml" | "xhtml" => "application/xml",
            _ => "application/octet-stream",
        };
        Kind { name, acts: matches!(&*ending, "html" | "htm" | "svg" | "xml" | "xhtml" | "pdf") }
    }
}
