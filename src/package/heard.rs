//! What a tool says, in a file in memory. With a pipe, a tool whose caller is killed would die of
//! its next word, and leave a package half done; so it comes to its end, though nobody hears it.

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, SealFlag, fallocate, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::process::Stdio;

/// One stream of a tool. Its end is kept.
pub(crate) struct Heard {
    file: File,
    kept_bytes: u64,
}

/// The end of a stream.
pub(crate) struct Tail {
    pub bytes: Vec<u8>,
    /// Whether there was more before it.
    pub is_cut: bool,
}

impl Heard {
    pub fn new(kept_bytes: u64) -> io::Result<Heard> {
        let file = File::from(in_memory()?);
        // A script that writes to `/dev/stderr` opens it anew, and may empty it: others go on at its end.
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
        Ok(Heard { file, kept_bytes })
    }

    /// What the tool is given.
    pub fn writer(&self) -> io::Result<Stdio> {
        Ok(self.file.try_clone()?.into())
    }

    /// Gives back the memory of what is not kept.
    pub fn forget(&self) -> io::Result<()> {
        let excess = self.excess()?;
        if excess > 0 {
            let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            fallocate(&self.file, hole, 0, libc::off_t::try_from(excess).map_err(io::Error::other)?)?;
        }
        Ok(())
    }

    /// The end of it. Who holds the stream still, like a daemon that a package's script started,
    /// can say no more.
    pub fn end(mut self) -> io::Result<Tail> {
        let excess = self.excess()?;
        self.file.seek(SeekFrom::Start(excess))?;
        let mut bytes = Vec::new();
        (&self.file).take(self.kept_bytes).read_to_end(&mut bytes)?;
        fcntl(&self.file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW))?;
        self.file.set_len(0)?;
        Ok(Tail { bytes, is_cut: excess > 0 })
    }

    fn excess(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len().saturating_sub(self.kept_bytes))
    }
}

fn in_memory() -> nix::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // A host may demand that such a file is no program; a kernel before 6.3 does not know of that.
    let no_program = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    match memfd_create("heard", flags | no_program) {
        Err(Errno::EINVAL) => memfd_create("heard", flags),
        made => made,
    }
}
