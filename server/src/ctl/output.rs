//! What all answers have in common on their way to the operator: lists as
//! tables or JSON, and text from the network made safe for a terminal.

use super::args::Output;
use super::error::Error;
use comfy_table::{Table, presets};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// A list as `GET` answers with it: `{"KEY":[…],"count":N}`.
pub struct List {
    key: String,
    items: Vec<Box<RawValue>>,
    /// As it came; `None` where other items are in it by now.
    came: Option<String>,
}

impl List {
    pub fn parse(body: &[u8], key: &str) -> Result<List, String> {
        let document = std::str::from_utf8(body).map_err(|error| error.to_string())?.to_owned();
        let mut fields: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(&document).map_err(|error| error.to_string())?;
        let items = fields.remove(key).ok_or_else(|| format!("no {key:?} in it"))?;
        let items = serde_json::from_str(items.get()).map_err(|error| error.to_string())?;
        Ok(List { key: key.to_owned(), items, came: Some(document) })
    }

    /// One to be made of others.
    pub fn empty(key: &str) -> List {
        List { key: key.to_owned(), items: Vec::new(), came: None }
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn last(&self) -> Option<Value> {
        serde_json::from_str(self.items.last()?.get()).ok()
    }

    /// Adds the items of the other one.
    pub fn extend(&mut self, other: List) {
        self.items.extend(other.items);
        self.came = None;
    }

    /// Keeps the items that `wanted` says yes to.
    pub fn retain(&mut self, mut wanted: impl FnMut(&Value) -> bool) {
        self.items.retain(|item| serde_json::from_str(item.get()).is_ok_and(|item| wanted(&item)));
        self.came = None;
    }

    fn document(&self) -> String {
        if let Some(came) = &self.came {
            return came.clone();
        }
        let items: Vec<&str> = self.items.iter().map(|item| item.get()).collect();
        format!("{{{:?}:[{}],\"count\":{}}}", self.key, items.join(","), items.len())
    }

    /// Prints it; `row` makes an item's cells.
    pub fn print(
        &self,
        output: Output,
        head: &[&str],
        row: impl Fn(&Value) -> Vec<String>,
    ) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        match output {
            Output::Json => json(&mut out, self.document().as_bytes())?,
            Output::Ndjson => self.items.iter().try_for_each(|item| writeln!(out, "{}", item.get()))?,
            Output::Table if self.items.is_empty() => writeln!(io::stderr(), "no {}", self.key)?,
            Output::Table => {
                let mut table = columns();
                table.set_header(head);
                for item in &self.items {
                    table.add_row(row(&serde_json::from_str(item.get()).map_err(io::Error::from)?));
                }
                print_table(&mut out, table)?;
            }
        }
        out.flush().map_err(Error::from)
    }
}

/// A table of an object's fields, one a row.
pub fn fields_of(fields: &serde_json::Map<String, Value>) -> Table {
    let mut table = columns();
    for (name, value) in fields {
        table.add_row([printable(name), cell(value)]);
    }
    table
}

/// JSON as it came, and the end of the line.
pub fn json(out: &mut impl Write, body: &[u8]) -> io::Result<()> {
    out.write_all(body.trim_ascii_end())?;
    out.write_all(b"\n")
}

/// Two blanks between columns, none at either end of a line.
pub fn print_table(out: &mut impl Write, mut table: Table) -> io::Result<()> {
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table.lines().try_for_each(|line| writeln!(out, "{}", line.trim_end()))
}

/// A value for a person: text without quotes, nothing as a dash.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) if text.is_empty() => "-".into(),
        Value::String(text) => printable(text),
        Value::Object(map) if map.is_empty() => "-".into(),
        Value::Object(map) if map.values().all(Value::is_string) => {
            let pairs =
                map.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
            printable(&pairs.collect::<Vec<_>>().join(","))
        }
        other => printable(&other.to_string()),
    }
}

/// Text from the network, fit for a terminal: nothing in it moves the cursor,
/// changes colours or turns the direction of writing.
pub fn printable(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A table without lines.
pub fn columns() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_from_the_network_drives_the_terminal() {
        assert_eq!(printable("web-1 größe"), "web-1 größe");
        assert_eq!(printable("a\u{1b}]0;x\u{7}b\r\n"), "a\\u{1b}]0;x\\u{7}b\\r\\n");
        assert_eq!(printable("a\u{9b}31m\u{202e}"), "a\\u{9b}31m\\u{202e}");
    }

    #[test]
    fn values_read_well() {
        assert_eq!(cell(&json!("cn-1")), "cn-1");
        assert_eq!(cell(&json!("")), "-");
        assert_eq!(cell(&json!(null)), "-");
        assert_eq!(cell(&json!({"svc": "ecs", "cmpt": "db"})), "cmpt=db,svc=ecs");
        assert_eq!(cell(&json!({})), "-");
        assert_eq!(cell(&json!(3)), "3");
    }

    #[test]
    fn a_list_is_found_by_its_key() {
        let body = br#"{"hosts":[{"id":"a"},{"id":"b"}],"count":2}"#;
        let mut list = List::parse(body, "hosts").unwrap();
        assert_eq!(list.document().as_bytes(), body);
        list.retain(|host| host["id"] == "b");
        assert_eq!(list.document(), r#"{"hosts":[{"id":"b"}],"count":1}"#);
        let mut all = List::empty("hosts");
        assert_eq!(all.document(), r#"{"hosts":[],"count":0}"#);
        all.extend(List::parse(body, "hosts").unwrap());
        all.extend(list);
        assert_eq!(all.document(), r#"{"hosts":[{"id":"a"},{"id":"b"},{"id":"b"}],"count":3}"#);
        assert_eq!((all.len(), all.last()), (3, Some(json!({"id": "b"}))));
        assert!(List::parse(b"{}", "hosts").is_err());
        assert!(List::parse(b"<html>", "hosts").is_err());
    }

    #[test]
    fn tables_have_no_blanks_at_the_end() {
        let mut table = columns();
        table.set_header(["NAME", "STATUS"]).add_row(["web-1", "up"]);
        let mut out = Vec::new();
        print_table(&mut out, table).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "NAME   STATUS\nweb-1  up\n");
    }
}
