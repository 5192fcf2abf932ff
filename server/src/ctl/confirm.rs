//! A request for many hosts: whoever gives it says how many they are.

use super::error::Error;
use std::io::{self, BufRead, IsTerminal, Write};

/// Whether there is somebody to ask.
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for the number. An error where it is not given.
pub fn ask(hosts: u64, mut from: impl BufRead, mut to: impl Write) -> Result<(), Error> {
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
