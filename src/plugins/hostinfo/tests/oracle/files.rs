//! `load` and `hardware`, of which the kernel's own files say it all.

use super::ask::{ask, fixture, not_seen, run};
use super::elsewhere::elsewhere;
use aspire_plugin::Root;
use hostinfo::{cpu, facts, hardware, kernel, load, memory, net, os, time};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

#[test]
fn no_query_takes_arguments() {
    let queries = [
        cpu::answer,
        facts::answer,
        hardware::answer,
        kernel::answer,
        load::answer,
        memory::answer,
        net::answer,
        os::answer,
        time::answer,
    ];
    for query in queries {
        for args in ["-x", "everything", "'"] {
            let refused = query(args).unwrap_err();
            assert_eq!(refused.retcode.code(), 3021, "{args}");
            assert!(refused.reason.starts_with("args: "), "{refused}");
        }
        assert!(query("  ").is_ok());
    }
}

#[test]
fn a_load_is_what_uptime_and_awk_say() {
    let place = tempfile::tempdir().unwrap();
    let (loadavg, uptime) = (place.path().join("loadavg"), place.path().join("uptime"));
    let now = fs::read_to_string("/proc/loadavg").unwrap();
    for (load, up) in [
        (now.as_str(), "12345.67 23456.78\n"),
        ("0.00 0.01 0.05 1/89 10270\n", "4.10 0.00\n"),
        ("123.45 67.80 1024.99 131/20480 4194303\n", "157788000.03 1.00\n"),
    ] {
        fs::write(&loadavg, load).unwrap();
        fs::write(&uptime, up).unwrap();
        elsewhere(&[(&loadavg, "/proc/loadavg"), (&uptime, "/proc/uptime")], compare_load);
    }
    assert_eq!(ask(load::answer)["cpus"].to_string(), run("getconf", &["_NPROCESSORS_ONLN"]).unwrap());
}

fn compare_load() {
    let answer = ask(load::answer);
    let number = |program: &str, file: &str| -> Value {
        serde_json::from_str(&run("awk", &[program, file]).unwrap()).unwrap()
    };
    for (field, program) in [
        ("load1", "{ print $1 + 0 }"),
        ("load5", "{ print $2 + 0 }"),
        ("load15", "{ print $3 + 0 }"),
        ("runnable", "{ split($4, of, \"/\"); print of[1] }"),
        ("processes", "{ split($4, of, \"/\"); print of[2] }"),
    ] {
        assert_eq!(answer[field].as_f64(), number(program, "/proc/loadavg").as_f64(), "{field}");
    }
    assert_eq!(answer["uptime"].as_f64(), number("{ print $1 }", "/proc/uptime").as_f64());
    let Some(text) = run("uptime", &[]) else { return };
    let (_, loads) = text.split_once("load average: ").unwrap();
    let shown: Vec<f64> = loads.split(", ").map(|load| load.parse().unwrap()).collect();
    assert_eq!(json!(shown), json!([answer["load1"], answer["load5"], answer["load15"]]));
}

#[test]
fn a_load_that_is_not_told_is_null() {
    let nowhere = tempfile::tempdir().unwrap();
    let load = serde_json::to_value(load::Load::of(&Root::at(nowhere.path()))).unwrap();
    assert!(load.as_object().unwrap().values().all(Value::is_null), "{load}");
}

#[test]
fn processors_are_counted_by_the_shorter_file_that_tells() {
    let machine = tempfile::tempdir().unwrap();
    let put = |file: &str, text: &str| {
        let file = machine.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    let cpus = || load::Load::of(&Root::at(machine.path())).cpus;
    put("proc/cpuinfo", "processor : 0\nprocessor : 1\n");
    assert_eq!(cpus(), Some(2));
    put("sys/devices/system/cpu/online", "0-3,8\n");
    assert_eq!(cpus(), Some(5));
}

/// Part and field, and the file below /sys/class/dmi/id.
const DMI: &[(&str, &str, &str)] = &[
    ("system", "vendor", "sys_vendor"),
    ("system", "product", "product_name"),
    ("system", "version", "product_version"),
    ("system", "serial", "product_serial"),
    ("system", "uuid", "product_uuid"),
    ("system", "family", "product_family"),
    ("system", "sku", "product_sku"),
    ("board", "vendor", "board_vendor"),
    ("board", "product", "board_name"),
    ("board", "version", "board_version"),
    ("board", "serial", "board_serial"),
    ("board", "asset_tag", "board_asset_tag"),
    ("bios", "vendor", "bios_vendor"),
    ("bios", "version", "bios_version"),
    ("bios", "date", "bios_date"),
    ("chassis", "vendor", "chassis_vendor"),
    ("chassis", "type", "chassis_type"),
    ("chassis", "version", "chassis_version"),
    ("chassis", "serial", "chassis_serial"),
    ("chassis", "asset_tag", "chassis_asset_tag"),
];

/// Each field against what head shows of its file.
fn compare_dmi(answer: &Value, root: &Path) {
    let mut fields = 0;
    for (part, field, name) in DMI {
        let file = root.join("sys/class/dmi/id").join(name);
        let line = || run("head", &["-n1", file.to_str().unwrap()]);
        let expected = fs::read(&file).ok().and_then(|_| line()).map(|line| line.trim().to_owned());
        let expected = expected.filter(|text| !text.is_empty());
        let expected = match *field {
            "type" => json!(expected.map(|text| text.parse::<u8>().unwrap())),
            _ => json!(expected),
        };
        assert_eq!(answer[part][field], expected, "{part}.{field}");
        fields += 1;
    }
    let all = answer.as_object().unwrap().values().map(|part| part.as_object().unwrap().len());
    assert_eq!(all.sum::<usize>(), fields);
}

#[test]
fn hardware_is_what_the_firmware_tells() {
    let id = Path::new("/sys/class/dmi/id");
    if !id.exists() {
        not_seen("this machine's DMI: it has none");
    }
    compare_dmi(&ask(hardware::answer), Path::new("/"));
}

#[test]
fn a_servers_hardware_is_what_its_firmware_tells() {
    let server = fixture("server");
    let answer = serde_json::to_value(hardware::Hardware::of(&Root::at(&server))).unwrap();
    compare_dmi(&answer, &server);
    assert_eq!(answer["system"]["product"], "PowerEdge R640");
    assert_eq!((&answer["system"]["version"], &answer["chassis"]["type"]), (&Value::Null, &json!(23)));
}
