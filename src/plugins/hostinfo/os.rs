//! `os`: which distribution this is, as its os-release(5) says.

use aspire_plugin::{Failure, Root, Text, args, json};
use serde::Serialize;
use std::collections::HashMap;

/// Takes no arguments.
pub fn answer(args: &str) -> Result<String, Failure> {
    args::none(args)?;
    json(&Os::of(&Root::default()))
}

/// The answer: all but the host's name from /etc/os-release or, where there is
/// none, /usr/lib/os-release.
#[derive(Debug, Serialize)]
pub struct Os {
    /// The distribution's name for programs, `ID`: debian.
    pub id: Option<Text>,
    /// The ones it is like, the nearest first, `ID_LIKE`.
    pub like: Option<Vec<Text>>,
    /// Its name for people, `NAME`.
    pub name: Option<Text>,
    /// Name and version for people, `PRETTY_NAME`.
    pub pretty_name: Option<Text>,
    /// The version for people, `VERSION`.
    pub version: Option<Text>,
    /// The version for programs, `VERSION_ID`: 12.
    pub version_id: Option<Text>,
    /// The version's name, `VERSION_CODENAME`: bookworm.
    pub codename: Option<Text>,
    /// The edition, `VARIANT_ID`: server.
    pub variant: Option<Text>,
    /// The image it was made of, `BUILD_ID`.
    pub build: Option<Text>,
    /// How lists of vulnerabilities name it, `CPE_NAME`.
    pub cpe: Option<Text>,
    /// The host's name, of gethostname(2).
    pub hostname: Option<Text>,
}

impl Os {
    pub fn of(root: &Root) -> Os {
        let file = root.read("etc/os-release").or_else(|_| root.read("usr/lib/os-release"));
        let mut said = assignments(&file.unwrap_or_default());
        let mut take = |key: &str| said.remove(key.as_bytes()).map(|value| Text::from(&value[..]));
        let like = take("ID_LIKE");
        let words = |text: &Text| -> Vec<Text> {
            let words = text.as_bytes().split(u8::is_ascii_whitespace);
            words.filter(|word| !word.is_empty()).map(Text::from).collect()
        };
        Os {
            id: take("ID"),
            like: like.as_ref().map(words),
            name: take("NAME"),
            pretty_name: take("PRETTY_NAME"),
            version: take("VERSION"),
            version_id: take("VERSION_ID"),
            codename: take("VERSION_CODENAME"),
            variant: take("VARIANT_ID"),
            build: take("BUILD_ID"),
            cpe: take("CPE_NAME"),
            hostname: nix::unistd::gethostname().ok().map(|name| name.as_os_str().into()),
        }
    }
}

/// The file is one for the shell, and is read as that would: a line it would not
/// take for an assignment is none, and the last one of a name counts.
fn assignments(file: &[u8]) -> HashMap<Vec<u8>, Vec<u8>> {
    let lines = file.split(|&byte| byte == b'\n');
    let assignment = |line: &[u8]| {
        let [word] = <[Vec<u8>; 1]>::try_from(shlex::bytes::split(line)?).ok()?;
        let equals = word.iter().position(|&byte| byte == b'=')?;
        Some((word[..equals].to_vec(), word[equals + 1..].to_vec()))
    };
    lines.filter_map(assignment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_a_shell_does_it() {
        let file = b"# A=1\nID=x # why\nNAME=\"a \\\"b\\\" \\$c\"\nVERSION='1 2'3\nPRETTY_NAME=#1\n\
            \nVARIANT_ID=two words\nBUILD_ID='open\nVERSION_ID=1\nVERSION_ID=2\nCPE_NAME=\nlonely\nL=\xff";
        let said = assignments(file);
        let value = |key: &str| said.get(key.as_bytes()).map(Vec::as_slice);
        assert_eq!(value("ID"), Some(&b"x"[..]));
        assert_eq!(value("NAME"), Some(&b"a \"b\" $c"[..]));
        assert_eq!(value("VERSION"), Some(&b"1 23"[..]));
        assert_eq!(value("PRETTY_NAME"), Some(&b"#1"[..]));
        assert_eq!(value("VERSION_ID"), Some(&b"2"[..]));
        assert_eq!(value("CPE_NAME"), Some(&b""[..]));
        assert_eq!(value("L"), Some(&b"\xff"[..]));
        assert_eq!((value("A"), value("VARIANT_ID"), value("BUILD_ID"), said.len()), (None, None, None, 7));
    }
}
