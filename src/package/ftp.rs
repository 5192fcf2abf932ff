//! A file by ftp: passive and binary, with `REST` to take up a part. The crates
//! that speak FTP bring an engine for regular expressions and a calendar; what a
//! download needs of the protocol is eight commands.

use crate::error::printable;
use crate::part::{Origin, Part};
use crate::stream;
use crate::url::Remote;
use percent_encoding::percent_decode_str;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

const PORT: u16 = 21;
const MOST_LINE_BYTES: u64 = 4096;
const MOST_LINES: usize = 256;

/// Fills the part; says where it went on. `known` is what it is a part of.
pub(crate) fn download(
    remote: &Remote,
    silence: Duration,
    known: Option<Origin>,
    part: &mut Part,
) -> Result<u64, String> {
    let path = path(remote)?;
    let mut control = Control::open(remote, silence)?;
    control.login(remote)?;
    control.expect("TYPE I", 2)?;
    let size = control.size(&path)?;
    size.map_or(Ok(()), |bytes| part.check_size(bytes))?;
    let validator = control.validator(&path, size)?;
    let mut offset = part.len();
    let same = known.is_some_and(|origin| validator.as_ref() == Some(&origin.validator))
        && size.is_some_and(|size| offset <= size);
    if same && size == Some(offset) {
        return Ok(offset);
    }
    if !same || !control.rest(offset)? {
        offset = 0;
        let origin = validator.map(|validator| Origin::new(remote.id(), validator));
        part.begin(origin.as_ref())?;
    }
    let data = control.retrieve(&path)?;
    part.fill(Patient { data, silence }, size.map(|size| size.saturating_sub(offset)))?;
    control.end()?;
    Ok(offset)
}

/// Relative to the login's folder; nothing in it may end a command.
pub(crate) fn path(remote: &Remote) -> Result<String, String> {
    let path = remote.uri.path().strip_prefix('/').unwrap_or_default();
    let path = percent_decode_str(path).decode_utf8().map_err(|_| "url: the path is not UTF-8")?;
    if path.is_empty() || path.ends_with('/') {
        return Err("url: must name a file".into());
    }
    if path.contains(char::is_control) {
        return Err("url: the path must have no control characters".into());
    }
    Ok(path.into_owned())
}

/// The connection for commands.
struct Control {
    reader: BufReader<TcpStream>,
    peer: SocketAddr,
    silence: Duration,
}

struct Reply {
    code: u16,
    text: String,
}

impl Reply {
    fn kind(&self) -> u16 {
        self.code / 100
    }
}

impl Control {
    fn open(remote: &Remote, silence: Duration) -> Result<Control, String> {
        let port = remote.uri.port_u16().unwrap_or(PORT);
        let addresses = (remote.host(), port).to_socket_addrs().map_err(|error| error.to_string())?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        let stream = stream::connect(&addresses, silence).map_err(|error| error.to_string())?;
        let peer = stream.peer_addr().map_err(|error| error.to_string())?;
        let mut control = Control { reader: BufReader::new(stream), peer, silence };
        // 120 announces that the server is not ready yet.
        while control.done("the connection", 2)?.kind() == 1 {}
        Ok(control)
    }

    fn login(&mut self, remote: &Remote) -> Result<(), String> {
        let (user, password) = match &remote.login {
            Some(login) => (login.user.as_str(), login.password.as_str()),
            None => ("anonymous", "gearman@"),
        };
        let mut reply = self.ask(&format!("USER {user}"))?;
        if reply.kind() == 3 {
            reply = self.ask(&format!("PASS {password}"))?;
        }
        // The server's words are left out: they might repeat the password.
        if reply.kind() == 2 { Ok(()) } else { Err(format!("the server refuses the login ({})", reply.code)) }
    }

    /// Not every server tells.
    fn size(&mut self, path: &str) -> Result<Option<u64>, String> {
        let reply = self.ask(&format!("SIZE {path}"))?;
        Ok((reply.code == 213).then(|| reply.text.trim().parse().ok()).flatten())
    }

    /// What changes when the file does.
    fn validator(&mut self, path: &str, size: Option<u64>) -> Result<Option<String>, String> {
        let reply = self.ask(&format!("MDTM {path}"))?;
        let date = if reply.code == 213 { reply.text.trim() } else { "" };
        Ok(size.map(|size| format!("{size} {date}")))
    }

    /// Whether the server goes on from there.
    fn rest(&mut self, offset: u64) -> Result<bool, String> {
        Ok(self.ask(&format!("REST {offset}"))?.kind() == 3)
    }

    fn retrieve(&mut self, path: &str) -> Result<TcpStream, String> {
        let port = self.passive()?;
        // The server's own address, whatever it says: it shall not send us elsewhere.
        let address = SocketAddr::new(self.peer.ip(), port);
        let data = stream::connect(&[address], self.silence).map_err(|error| error.to_string())?;
        self.expect(&format!("RETR {path}"), 1)?;
        Ok(data)
    }

    fn passive(&mut self) -> Result<u16, String> {
        let reply = self.ask("EPSV")?;
        let port = if reply.code == 229 {
            extended_port(&reply.text)
        } else {
            let reply = self.ask("PASV")?;
            (reply.code == 227).then(|| passive_port(&reply.text)).flatten()
        };
        port.filter(|port| *port != 0).ok_or_else(|| "the server opens no port for the file".into())
    }

    /// After the last byte: only now does the server say whether that was all.
    fn end(&mut self) -> Result<(), String> {
        self.done("the transfer", 2).map(drop)
    }

    fn expect(&mut self, command: &str, kind: u16) -> Result<Reply, String> {
        self.send(command)?;
        self.done(command.split(' ').next().unwrap_or_default(), kind)
    }

    fn ask(&mut self, command: &str) -> Result<Reply, String> {
        self.send(command)?;
        self.reply()
    }

    fn done(&mut self, what: &str, kind: u16) -> Result<Reply, String> {
        let reply = self.reply()?;
        if reply.kind() == kind || (kind == 2 && reply.code == 120) {
            return Ok(reply);
        }
        Err(format!("the server answered {} {} to {what}", reply.code, reply.text))
    }

    fn send(&mut self, command: &str) -> Result<(), String> {
        let sent = self.reader.get_mut().write_all(format!("{command}\r\n").as_bytes());
        sent.map_err(|error| stream::words(error, self.silence).to_string())
    }

    /// `213 text`, or `213-` and lines up to the one that begins with `213 `.
    fn reply(&mut self) -> Result<Reply, String> {
        let first = self.line()?;
        let code = first.get(..3).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
        let code: u16 = code.and_then(|code| code.parse().ok()).ok_or("the server does not speak FTP")?;
        let mut last = first;
        let end = format!("{code:03} ");
        let mut lines = 1;
        while last.as_bytes().get(3) == Some(&b'-') || (lines > 1 && !last.starts_with(&end)) {
            if lines == MOST_LINES {
                return Err("the server's answer does not end".into());
            }
            last = self.line()?;
            lines += 1;
        }
        Ok(Reply { code, text: printable(last.get(4..).unwrap_or_default()) })
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        let read = (&mut self.reader).take(MOST_LINE_BYTES).read_until(b'\n', &mut line);
        read.map_err(|error| stream::words(error, self.silence).to_string())?;
        match line.pop() {
            Some(b'\n') => Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
            Some(_) if line.len() as u64 + 1 == MOST_LINE_BYTES => {
                Err("the server's answer is too long".into())
            }
            _ => Err("the server closed the connection".into()),
        }
    }
}

/// `229 Entering Extended Passive Mode (|||6446|)`
fn extended_port(text: &str) -> Option<u16> {
    let inside = text.rsplit_once('(')?.1.split_once(')')?.0;
    let delimiter = inside.chars().next()?;
    inside.split(delimiter).nth(3)?.parse().ok()
}

/// `227 Entering Passive Mode (h1,h2,h3,h4,p1,p2)`
fn passive_port(text: &str) -> Option<u16> {
    let begin = text.find(|c: char| c.is_ascii_digit())?;
    let end =
        text[begin..].find(|c: char| !c.is_ascii_digit() && c != ',').map_or(text.len(), |end| begin + end);
    let numbers: Vec<u8> = text[begin..end].split(',').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let [_, _, _, _, high, low] = *numbers.as_slice() else { return None };
    Some(u16::from_be_bytes([high, low]))
}

/// A connection whose silence is told in words.
struct Patient {
    data: TcpStream,
    silence: Duration,
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.data.read(buffer).map_err(|error| stream::words(error, self.silence))
    }
}

#[cfg(test)]
mod tests {
    use super::{extended_port, passive_port};

    #[test]
    fn the_port_of_the_data_is_read() {
        assert_eq!(extended_port("Entering Extended Passive Mode (|||6446|)"), Some(6446));
        assert_eq!(extended_port("Entering Extended Passive Mode (|||66666|)"), None);
        assert_eq!(extended_port("Entering Extended Passive Mode"), None);
        assert_eq!(passive_port("Entering Passive Mode (127,0,0,1,25,46)."), Some(25 * 256 + 46));
        assert_eq!(passive_port("=127,0,0,1,25,46"), Some(25 * 256 + 46));
        assert_eq!(passive_port("Entering Passive Mode (127,0,0,1,25)"), None);
        assert_eq!(passive_port("Entering Passive Mode (127,0,0,1,25,256)"), None);
        assert_eq!(passive_port(""), None);
    }
}
