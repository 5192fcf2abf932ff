//! Block devices, as /sys/block tells of them.

use aspire_plugin::{Root, Text};
use serde::Serialize;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A block device, or a part of one.
#[derive(Debug, Serialize)]
pub struct Device {
    /// Its name below /dev; a volume of the device mapper's goes by the name that
    /// it was given, as below /dev/mapper (dm/name).
    pub name: Text,
    /// The kernel's name for it, which is another one for such a volume: `dm-0`.
    pub kernel_name: Text,
    /// The number that its mounts have, too: `8:1` (dev).
    pub maj_min: Option<Text>,
    /// `disk`, `part`, `loop`, `rom`, `tape`; of the device mapper's what made it
    /// (`lvm`, `crypt`, `mpath`, …, otherwise `dm`); of a RAID its level (`raid1`,
    /// …): the words that lsblk has for it.
    #[serde(rename = "type")]
    pub kind: Text,
    /// What it is made of, by the kernel's names: a partition's disk, the devices
    /// below a volume or a RAID (slaves/).
    pub parents: Vec<Text>,
    /// In bytes (size).
    pub size: Option<u64>,
    /// (ro).
    pub read_only: Option<bool>,
    /// Whether its medium can be changed (removable); of a partition its disk's.
    pub removable: Option<bool>,
    /// Whether it turns (queue/rotational); of a partition its disk's.
    pub rotational: Option<bool>,
    /// (device/model).
    pub model: Option<Text>,
    /// (device/serial; serial for virtio; device/vpd_pg80 for SCSI).
    pub serial: Option<Text>,
    /// (device/vendor).
    pub vendor: Option<Text>,
    /// Of a loop device the file behind it (loop/backing_file).
    pub backing_file: Option<Text>,
}

/// `None` where the kernel does not tell.
pub fn all(root: &Root) -> Option<Vec<Device>> {
    let block = Path::new("sys/block");
    let mut devices = Vec::new();
    for name in entries(&root.path(block)).ok()? {
        let disk = Folder { root, path: block.join(&name) };
        let unattached = name.as_bytes().starts_with(b"loop") && disk.value("loop/backing_file").is_none();
        // One of several ways to a disk, which has an entry of its own.
        if unattached || disk.flag("hidden") == Some(true) {
            continue;
        }
        devices.push(disk.device(None));
        for part in entries(&root.path(&disk.path)).unwrap_or_default() {
            let part = Folder { root, path: disk.path.join(part) };
            if part.value("partition").is_some() {
                devices.push(part.device(Some(&disk)));
            }
        }
    }
    Some(devices)
}

/// The names in a folder, in order.
fn entries(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names: Vec<_> = fs::read_dir(folder)?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    Ok(names)
}

/// A device's folder below /sys.
struct Folder<'a> {
    root: &'a Root,
    path: PathBuf,
}

impl Folder<'_> {
    fn device(&self, disk: Option<&Folder>) -> Device {
        let name = self.name();
        // What only whole disks tell.
        let whole = |file| self.flag(file).or_else(|| disk?.flag(file));
        Device {
            name: self.value("dm/name").unwrap_or_else(|| name.clone()),
            maj_min: self.value("dev"),
            kind: if disk.is_some() { "part".into() } else { self.kind() },
            parents: disk.map_or_else(|| self.slaves(), |disk| vec![disk.name()]),
            size: self.number("size").and_then(|sectors: u64| sectors.checked_mul(512)),
            read_only: self.flag("ro"),
            removable: whole("removable"),
            rotational: whole("queue/rotational"),
            model: self.value("device/model"),
            serial: self
                .value("device/serial")
                .or_else(|| self.value("serial"))
                .or_else(|| self.vpd_serial()),
            vendor: self.value("device/vendor"),
            backing_file: self.value("loop/backing_file"),
            kernel_name: name,
        }
    }

    fn kind(&self) -> Text {
        let name = self.name();
        let word = if name.as_bytes().starts_with(b"dm-") {
            self.value("dm/uuid").and_then(|uuid| mapped_by(&uuid)).unwrap_or("dm".into())
        } else if name.as_bytes().starts_with(b"loop") {
            "loop".into()
        } else if name.as_bytes().starts_with(b"md") {
            self.value("md/level").unwrap_or("md".into())
        } else {
            self.number("device/type").map_or("disk", scsi_type).into()
        };
        Text::from(word.as_bytes().to_ascii_lowercase().as_slice())
    }

    /// As the folder is called, but for the slashes, which have no place there.
    fn name(&self) -> Text {
        in_dev(self.path.file_name().unwrap_or_default().as_bytes())
    }

    fn slaves(&self) -> Vec<Text> {
        let names = entries(&self.root.path(self.path.join("slaves"))).unwrap_or_default();
        names.iter().map(|name| in_dev(name.as_bytes())).collect()
    }

    /// Of the page on serial numbers, after its head of four bytes.
    fn vpd_serial(&self) -> Option<Text> {
        let page = fs::read(self.root.path(self.path.join("device/vpd_pg80"))).ok()?;
        let serial = page.get(4..)?.trim_ascii();
        (!serial.is_empty()).then(|| serial.into())
    }

    fn value(&self, file: &str) -> Option<Text> {
        self.root.value(self.path.join(file))
    }

    fn number<T: std::str::FromStr>(&self, file: &str) -> Option<T> {
        self.root.number(self.path.join(file))
    }

    fn flag(&self, file: &str) -> Option<bool> {
        self.number::<u8>(file).map(|flag| flag != 0)
    }
}

/// `cciss!c0d0` is /dev/cciss/c0d0.
fn in_dev(name: &[u8]) -> Text {
    let name: Vec<u8> = name.iter().map(|&byte| if byte == b'!' { b'/' } else { byte }).collect();
    name.as_slice().into()
}

/// What made a volume stands before its identity: `LVM-…`, `CRYPT-LUKS2-…`,
/// `part1-mpath-…`.
fn mapped_by(uuid: &Text) -> Option<Text> {
    let (maker, _) = uuid.as_str()?.split_once('-')?;
    let maker =
        if maker.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("part")) { "part" } else { maker };
    (!maker.is_empty()).then(|| maker.into())
}

/// The SCSI standard's device types, in lsblk's words.
fn scsi_type(number: u8) -> &'static str {
    match number {
        1 => "tape",
        2 => "printer",
        3 => "processor",
        4 => "worm",
        5 => "rom",
        6 => "scanner",
        7 => "mo-disk",
        8 => "changer",
        9 => "comm",
        12 => "raid",
        13 => "enclosure",
        14 => "rbc",
        17 => "osd",
        _ => "disk",
    }
}
