//! The log: one line an event, `TIME LEVEL key=value …`.

use crate::reactor::wall_clock;
use env_logger::{Builder, Target};
use log::LevelFilter;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The open log file. Clones share it.
#[derive(Debug, Clone)]
pub struct LogFile {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl LogFile {
    /// # Errors
    /// A sentence with the file's name.
    pub fn open(path: &Path) -> Result<Self, String> {
        let opened = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| append_to(path));
        match opened {
            Ok(file) => Ok(LogFile { path: path.to_owned(), file: Arc::new(Mutex::new(file)) }),
            Err(error) => Err(format!("log file {}: {error}; -L names another", path.display())),
        }
    }

    /// Opens the file anew, after it was rotated. Where that fails the old one stays.
    pub fn reopen(&self) {
        match append_to(&self.path) {
            Ok(file) => *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file,
            Err(error) => log::error!("log=kept file={} reason=\"{error}\"", self.path.display()),
        }
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

/// Sends what is logged from now on to `file`, or to standard error.
pub fn start(file: Option<LogFile>, level: LevelFilter) {
    let target = file.map_or(Target::Stderr, |file| Target::Pipe(Box::new(file)));
    Builder::new()
        .filter_level(level)
        .target(target)
        .format(|line, record| {
            let time = humantime::format_rfc3339_millis(wall_clock());
            writeln!(line, "{time} {:5} {}", record.level(), record.args())
        })
        .init();
}
