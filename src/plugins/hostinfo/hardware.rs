//! `hardware`: who made the machine, as its firmware tells (DMI).

use aspire_plugin::{Failure, Root, Text, args, json};
use serde::Serialize;

/// Takes no arguments.
pub fn answer(args: &str) -> Result<String, Failure> {
    args::none(args)?;
    json(&Hardware::of(&Root::default()))
}

/// The answer: the texts below /sys/class/dmi/id, of which only root may read
/// serial numbers. What the maker left empty, or a machine without DMI does not
/// tell, is null.
#[derive(Debug, Serialize)]
pub struct Hardware {
    pub system: System,
    pub board: Board,
    pub bios: Bios,
    pub chassis: Chassis,
}

/// The whole machine.
#[derive(Debug, Serialize)]
pub struct System {
    pub vendor: Option<Text>,
    pub product: Option<Text>,
    pub version: Option<Text>,
    pub serial: Option<Text>,
    pub uuid: Option<Text>,
    pub family: Option<Text>,
    /// The maker's order number.
    pub sku: Option<Text>,
}

/// The main board.
#[derive(Debug, Serialize)]
pub struct Board {
    pub vendor: Option<Text>,
    pub product: Option<Text>,
    pub version: Option<Text>,
    pub serial: Option<Text>,
    pub asset_tag: Option<Text>,
}

/// The firmware.
#[derive(Debug, Serialize)]
pub struct Bios {
    pub vendor: Option<Text>,
    pub version: Option<Text>,
    /// As its maker writes it: 04/01/2014.
    pub date: Option<Text>,
}

/// The case.
#[derive(Debug, Serialize)]
pub struct Chassis {
    pub vendor: Option<Text>,
    /// The number of its kind in the SMBIOS specification: 3 a desktop, 23 for a rack.
    pub r#type: Option<u8>,
    pub version: Option<Text>,
    pub serial: Option<Text>,
    pub asset_tag: Option<Text>,
}

impl Hardware {
    pub fn of(root: &Root) -> Hardware {
        let dmi = |name: &str| root.value(format!("sys/class/dmi/id/{name}"));
        Hardware {
            system: System {
                vendor: dmi("sys_vendor"),
                product: dmi("product_name"),
                version: dmi("product_version"),
                serial: dmi("product_serial"),
                uuid: dmi("product_uuid"),
                family: dmi("product_family"),
                sku: dmi("product_sku"),
            },
            board: Board {
                vendor: dmi("board_vendor"),
                product: dmi("board_name"),
                version: dmi("board_version"),
                serial: dmi("board_serial"),
                asset_tag: dmi("board_asset_tag"),
            },
            bios: Bios { vendor: dmi("bios_vendor"), version: dmi("bios_version"), date: dmi("bios_date") },
            chassis: Chassis {
                vendor: dmi("chassis_vendor"),
                r#type: root.number("sys/class/dmi/id/chassis_type"),
                version: dmi("chassis_version"),
                serial: dmi("chassis_serial"),
                asset_tag: dmi("chassis_asset_tag"),
            },
        }
    }
}
