//! Servers on loopback that do as a test says, one connection after the other.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What one connection is answered with.
pub enum Answer {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, then nothing until the client gives up.
    Silence(Vec<u8>),
}

/// Sees each request's head; ends with the test.
pub struct Server {
    pub port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    done: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers as many connections as there are answers, then no more.
    pub fn http(answers: Vec<Answer>) -> Server {
        Server::serve(answers, |stream| Ok(Box::new(stream)))
    }

    pub fn serve(
        answers: Vec<Answer>,
        wrap: impl Fn(TcpStream) -> std::io::Result<Box<dyn Duplex>> + Send + 'static,
    ) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = heads.clone();
        let done = std::thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                // A client that gives up is no failure here: the test looks at what it says.
                let _ = wrap(stream).and_then(|stream| exchange(stream, answer, &seen));
            }
        });
        Server { port, heads, done: Some(done) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// All requests, once the last answer was given.
    pub fn heads(mut self) -> Vec<String> {
        self.done.take().unwrap().join().unwrap();
        std::mem::take(&mut self.heads.lock().unwrap())
    }
}

pub trait Duplex: Read + Write {}

impl<T: Read + Write> Duplex for T {}

fn exchange(stream: Box<dyn Duplex>, answer: Answer, heads: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            break;
        }
    }
    heads.lock().unwrap().push(head);
    match answer {
        Answer::Bytes(bytes) => {
            reader.get_mut().write_all(&bytes)?;
            reader.get_mut().flush()
        }
        Answer::Silence(bytes) => {
            reader.get_mut().write_all(&bytes)?;
            reader.get_mut().flush()?;
            reader.read_to_end(&mut Vec::new()).map(drop)
        }
    }
}

/// `head` is all but the last empty line.
pub fn answer(head: &str, body: &[u8]) -> Answer {
    Answer::Bytes([format!("{}\r\n\r\n", head.replace('\n', "\r\n")).as_bytes(), body].concat())
}

/// A whole file.
pub fn whole(tag: &str, body: &[u8]) -> Answer {
    answer(&format!("HTTP/1.1 200 OK\nContent-Length: {}\nETag: \"{tag}\"", body.len()), body)
}

/// A file that breaks off after some of its bytes.
pub fn broken(tag: &str, body: &[u8], at: usize) -> Answer {
    answer(&format!("HTTP/1.1 200 OK\nContent-Length: {}\nETag: \"{tag}\"", body.len()), &body[..at])
}

/// What follows an offset.
pub fn rest(tag: &str, body: &[u8], at: usize) -> Answer {
    let (len, last) = (body.len(), body.len() - 1);
    let range = format!("Content-Length: {}\nContent-Range: bytes {at}-{last}/{len}", len - at);
    answer(&format!("HTTP/1.1 206 Partial Content\n{range}\nETag: \"{tag}\""), &body[at..])
}

/// A server of FTP that sends each line when the one before was answered. `Some`
/// lines are what it must be sent first; returns what it was sent.
pub fn ftp(
    script: Vec<(Option<&'static str>, String)>,
    data: Option<(TcpListener, Vec<u8>)>,
) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut data = data;
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        for (expected, reply) in script {
            if let Some(expected) = expected {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                assert!(line.starts_with(expected), "expected {expected}, got {line}");
                let _ = send.send(line.trim_end().to_owned());
            }
            let begins = reply.starts_with("150");
            if reader.get_mut().write_all(reply.as_bytes()).is_err() {
                return;
            }
            if begins && let Some((listener, bytes)) = data.take() {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.write_all(&bytes);
            }
        }
        // Until the client is gone.
        let _ = reader.read_to_end(&mut Vec::new());
    });
    (port, receive)
}
