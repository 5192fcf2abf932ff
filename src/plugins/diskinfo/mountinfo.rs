//! The kernel's table of mounts, `mountinfo`. Its texts are bytes, and the order
//! of options counts, so it is read here rather than by a crate that keeps neither.

use aspire_plugin::Text;

/// A line of it. See proc(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub id: u64,
    pub maj_min: Text,
    pub root: Text,
    pub target: Text,
    pub options: Vec<Text>,
    pub kind: Text,
    pub source: Text,
    pub filesystem_options: Vec<Text>,
}

/// `None` where it is not as proc(5) says. A field may be empty, so that each
/// single blank parts two of them.
pub fn line(line: &[u8]) -> Option<Line> {
    let mut fields = line.split(|&byte| byte == b' ');
    let (id, _parent) = (number(fields.next()?)?, number(fields.next()?)?);
    let maj_min = Text::from(fields.next()?);
    let (root, target, options) = (fields.next()?, fields.next()?, fields.next()?);
    fields.find(|field| field == b"-")?;
    let (kind, source, filesystem_options) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Line {
        id,
        maj_min,
        root: unescaped(root),
        target: unescaped(target),
        options: list(options),
        kind: unescaped(kind),
        source: unescaped(source),
        filesystem_options: list(filesystem_options),
    })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Parted by commas, but for those in quotes, as SELinux writes its contexts.
fn list(options: &[u8]) -> Vec<Text> {
    let mut quoted = false;
    let parted = options.split(|&byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    });
    parted.filter(|option| !option.is_empty()).map(unescaped).collect()
}

/// The kernel writes blanks and the like as a backslash and three octal digits.
fn unescaped(mut field: &[u8]) -> Text {
    let mut text = Vec::with_capacity(field.len());
    while let [first, rest @ ..] = field {
        let (byte, rest) = octal(field).map_or((*first, rest), |byte| (byte, &field[4..]));
        text.push(byte);
        field = rest;
    }
    text.as_slice().into()
}

fn octal(field: &[u8]) -> Option<u8> {
    let [b'\\', digits @ ..] = field.get(..4)? else { return None };
    digits.iter().all(u8::is_ascii_digit).then_some(())?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_proc_5_says() {
        let read = line(
            b"36 35 98:0 /mnt1 /mnt/parent\\040of\\134\\012x rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue",
        );
        let read = read.unwrap();
        assert_eq!((read.id, read.maj_min.as_bytes()), (36, b"98:0".as_slice()));
        assert_eq!(read.target, "/mnt/parent of\\\nx".into());
        assert_eq!(read.options, ["rw".into(), "noatime".into()]);
        assert_eq!((read.kind, read.source), ("ext3".into(), "/dev/root".into()));
        assert_eq!(read.filesystem_options, ["rw".into(), "errors=continue".into()]);
    }

    #[test]
    fn a_source_may_be_empty_and_a_target_any_bytes() {
        let read = line(b"1 0 0:1 / /\xff\\ rw - tmpfs  rw").unwrap();
        assert_eq!((read.source.as_bytes(), read.target.as_bytes()), (b"".as_slice(), b"/\xff\\".as_slice()));
    }

    #[test]
    fn a_comma_in_quotes_parts_nothing() {
        assert_eq!(
            list(b"rw,context=\"a:s0:c1,c2\",x"),
            ["rw".into(), "context=\"a:s0:c1,c2\"".into(), "x".into()]
        );
        assert!(list(b"").is_empty());
    }

    #[test]
    fn what_is_no_escape_stays_as_it_is() {
        for text in ["\\", "\\04", "\\9a0", "\\777", "a\\"] {
            assert_eq!(unescaped(text.as_bytes()), text.into(), "{text}");
        }
    }

    #[test]
    fn what_is_no_line_of_it_is_refused() {
        for text in [
            "",
            "x",
            "1 2 3 4 5 6",
            "1 2 0:1 / / rw - tmpfs",
            "x 2 0:1 / / rw - tmpfs a rw",
            "-1 2 0:1 / / rw - a b c",
        ] {
            assert_eq!(line(text.as_bytes()), None, "{text}");
        }
    }
}
