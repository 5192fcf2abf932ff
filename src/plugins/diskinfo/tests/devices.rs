//! Block devices: as lsblk sees them, here and on recorded machines.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

mod fixture;

use diskinfo::disk::Wanted;
use fixture::Machine;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// By the kernel's names.
type Devices = BTreeMap<String, Value>;

fn asked(machine: &Machine) -> Devices {
    let answer = diskinfo::disk::disk(&machine.root(), Wanted::default());
    let answer = serde_json::to_value(answer).unwrap();
    assert_eq!((&answer["mounts"], &answer["count"]), (&Value::Null, &Value::Null));
    assert_eq!(answer["device_count"], answer["devices"].as_array().unwrap().len());
    by_name(&answer)
}

fn by_name(answer: &Value) -> Devices {
    let devices = answer["devices"].as_array().unwrap();
    devices.iter().map(|device| (device["kernel_name"].as_str().unwrap().into(), device.clone())).collect()
}

/// What lsblk says, in our words. `None` where there is no lsblk.
fn lsblk(sysroot: &Path) -> Option<Devices> {
    let columns = "NAME,KNAME,PKNAME,MAJ:MIN,TYPE,SIZE,RO,RM,ROTA,MODEL,SERIAL,VENDOR";
    let run =
        Command::new("lsblk").args(["-a", "-b", "-J", "-o", columns, "--sysroot"]).arg(sysroot).output();
    let Ok(run) = run else {
        let _ = writeln!(std::io::stderr(), "NOT SEEN: what lsblk says: it is not installed");
        return None;
    };
    let told: Value = serde_json::from_slice(&run.stdout).unwrap();
    let mut parents: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut devices = Devices::new();
    let mut rest = told["blockdevices"].as_array().unwrap().clone();
    while let Some(device) = rest.pop() {
        rest.extend(device["children"].as_array().cloned().unwrap_or_default());
        let name = device["kname"].as_str().unwrap().to_owned();
        let parents = parents.entry(name.clone()).or_default();
        parents.extend(device["pkname"].as_str().map(str::to_owned));
        let text = |column: &str| device[column].as_str().map(str::trim);
        let device = json!({
            "name": device["name"], "kernel_name": name, "maj_min": device["maj:min"], "type": device["type"],
            "parents": parents, "size": device["size"], "read_only": device["ro"],
            "removable": device["rm"], "rotational": device["rota"],
            "model": text("model"), "serial": text("serial"), "vendor": text("vendor"),
        });
        // A loop device with nothing behind it is one that could be, not one that is.
        if device["type"] != "loop" || device["size"] != 0 {
            devices.insert(name, device);
        }
    }
    Some(devices)
}

fn without(devices: &Devices, fields: &[&str]) -> Devices {
    let mut devices = devices.clone();
    for device in devices.values_mut() {
        let device = device.as_object_mut().unwrap();
        device.retain(|field, _| !fields.contains(&field.as_str()));
    }
    devices
}

#[test]
fn recorded_machines_have_what_lsblk_sees() {
    for (name, count) in [("server.sys", 13), ("guest.sys", 7), ("storage.sys", 9)] {
        let machine = Machine::unpack(name);
        let asked = asked(&machine);
        assert_eq!(asked.len(), count, "{name}");
        if let Some(lsblk) = lsblk(machine.path()) {
            assert_eq!(without(&asked, &["backing_file"]), lsblk, "{name}");
        }
    }
}

#[test]
fn a_disk_is_followed_by_its_partitions() {
    let answer = diskinfo::disk::disk(&Machine::unpack("guest.sys").root(), Wanted::default());
    let answer = serde_json::to_value(answer).unwrap();
    let names = answer["devices"].as_array().unwrap().iter().map(|device| device["name"].as_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["loop0", "sr0", "vda", "vda1", "vda14", "vda15", "zram0"]);
    assert_eq!(answer["devices"][0]["backing_file"], "/var/lib/snapd/snaps/core20_1587.snap");
    assert_eq!(answer["devices"][1]["backing_file"], Value::Null);
}

#[test]
fn a_raid_lies_on_two_partitions_and_a_secret_on_a_volume() {
    let asked = asked(&Machine::unpack("server.sys"));
    let told = |name: &str| (asked[name]["type"].clone(), asked[name]["parents"].clone());
    assert_eq!(told("md0"), (json!("raid1"), json!(["sda1", "sdb1"])));
    assert_eq!(told("dm-2"), (json!("crypt"), json!(["dm-1"])));
    assert_eq!(told("nvme0n1p2"), (json!("part"), json!(["nvme0n1"])));
    assert_eq!(asked["dm-2"]["name"], "secret");
}

#[test]
fn serial_numbers_are_found_where_virtio_and_scsi_keep_them() {
    let machine = Machine::unpack("guest.sys");
    fs::write(machine.place("block/vda/serial"), "disk-7").unwrap();
    fs::write(machine.place("block/sr0/device/vpd_pg80"), b"\0\x80\0\x08  QM0001").unwrap();
    let asked = asked(&machine);
    assert_eq!((&asked["vda"]["serial"], &asked["sr0"]["serial"]), (&json!("disk-7"), &json!("QM0001")));
}

#[test]
fn what_the_kernel_does_not_tell_is_null() {
    let machine = Machine::unpack("guest.sys");
    for file in ["size", "ro", "removable", "queue/rotational", "dev"] {
        fs::write(machine.place(&format!("block/zram0/{file}")), "many\n").unwrap();
    }
    fs::remove_file(machine.place("block/zram0/dev")).unwrap();
    fs::write(machine.place("block/vda/size"), u64::MAX.to_string()).unwrap();
    fs::write(machine.place("block/sr0/device/vpd_pg80"), b"\0\x80").unwrap();
    fs::write(machine.place("block/sr0/device/model"), b"J\xf6rg").unwrap();
    let asked = asked(&machine);
    for field in ["maj_min", "size", "read_only", "removable", "rotational", "model"] {
        assert_eq!(asked["zram0"][field], Value::Null, "{field}");
    }
    assert_eq!(asked["vda"]["size"], Value::Null);
    assert_eq!(
        (&asked["sr0"]["serial"], &asked["sr0"]["model"]),
        (&Value::Null, &json!({"base64":"SvZyZw=="}))
    );

    let nothing = tempfile::tempdir().unwrap();
    let nothing = diskinfo::disk::disk(&aspire_plugin::Root::at(nothing.path()), Wanted::default());
    assert!(nothing.devices.is_none() && nothing.mounts.is_none());
}

/// A file behind a loop device of its own, with a partition.
struct Loop {
    device: String,
    file: tempfile::NamedTempFile,
}

impl Loop {
    fn set_up() -> Option<Loop> {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4 << 20).unwrap();
        match Command::new("losetup").args(["-f", "-r", "--show"]).arg(file.path()).output() {
            Ok(run) if run.status.success() => {
                let device = String::from_utf8(run.stdout).unwrap().trim().to_owned();
                // 1024 sectors after the first 2048: no table says so, the kernel is told.
                let run = Command::new("addpart").args([&device, "1", "2048", "1024"]).status();
                assert!(run.unwrap().success());
                Some(Loop { device, file })
            }
            refused => {
                let _ = writeln!(std::io::stderr(), "NOT SEEN: a loop device: {refused:?}");
                None
            }
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("delpart").args([&self.device, "1"]).status();
        let _ = Command::new("losetup").args(["-d", &self.device]).status();
    }
}

#[test]
fn this_machine_has_what_lsblk_sees() {
    let lent = Loop::set_up();
    for _ in 0..50 {
        let Some(before) = lsblk(Path::new("/")) else { return };
        let answer: Value = serde_json::from_str(&diskinfo::disk::answer("").unwrap()).unwrap();
        let asked = by_name(&answer);
        // Others' loop devices come and go.
        if Some(&before) != lsblk(Path::new("/")).as_ref() {
            continue;
        }
        // Where udev runs, lsblk believes it about these; of serial numbers it
        // does not see all that the kernel knows.
        let other: &[&str] =
            if Path::new("/run/udev/data").exists() { &["serial", "model", "vendor"] } else { &["serial"] };
        assert_eq!(without(&without(&asked, &["backing_file"]), other), without(&before, other));
        for (name, device) in &before {
            let serial = &device["serial"];
            assert!(serial.is_null() || other.len() > 1 || *serial == asked[name]["serial"], "{name}");
        }
        if let Some(lent) = &lent {
            let name = lent.device.strip_prefix("/dev/").unwrap();
            assert_eq!(asked[name]["backing_file"], json!(lent.file.path()));
            assert_eq!((&asked[name]["size"], &asked[name]["read_only"]), (&json!(4 << 20), &json!(true)));
            let part = &asked[&format!("{name}p1")];
            assert_eq!((&part["size"], &part["parents"]), (&json!(512 << 10), &json!([name])));
        }
        return;
    }
    panic!("lsblk does not say the same twice");
}
