//! A request for many hosts: whoever gives it says how many they are.

use super::error::Error;
use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Sends it with the number that was said, if one was. Where the server wants to hear it and there is
/// somebody to ask, asks and sends it again; `asking` holds meanwhile.
pub fn confirmed<T>(
    said: Option<u64>,
    asking: &AtomicBool,
    send: impl Fn(Option<u64>) -> Result<T, Error>,
) -> Result<T, Error> {
    let refused = match send(said) {
        Err(Error::Refused(problem)) => problem,
        other => return other,
    };
    let Some(hosts) = refused.unconfirmed().filter(|_| said.is_none() && can_ask()) else {
        return Err(Error::Refused(refused));
    };
    asking.store(true, Ordering::SeqCst);
    ask(hosts, io::stdin().lock(), io::stderr())?;
    asking.store(false, Ordering::SeqCst);
    send(Some(hosts))
}

/// Whether there is somebody to ask.
fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for the number. An error where it is not given.
fn ask(hosts: u64, mut from: impl BufRead, mut to: impl Write) -> Result<(), Error> {
    // One who cannot be asked cannot answer either.
    let _ = write!(to, "{hosts} hosts: type the number to go on: ").and_then(|()| to.flush());
    let mut line = String::new();
    match from.read_line(&mut line) {
        Ok(_) if line.trim() == hosts.to_string() => Ok(()),
        _ => Err(Error::NotConfirmed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_will_do() {
        for (typed, confirmed) in [
            ("4312\n", true),
            (" 4312", true),
            ("y\n", false),
            ("\n", false),
            ("", false),
            ("43120\n", false),
        ] {
            let mut shown = Vec::new();
            let answer = ask(4312, typed.as_bytes(), &mut shown);
            assert_eq!(answer.is_ok(), confirmed, "{typed:?}");
            assert_eq!(String::from_utf8(shown).unwrap(), "4312 hosts: type the number to go on: ");
        }
    }
}
