//! Table `boot_setting`: what jobs and enrolment have set.

use super::{Store, StoreError, text};
use rusqlite::OptionalExtension as _;

impl Store {
    /// `None` where it was never set.
    pub fn boot_setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let mut select = self.db.prepare_cached("SELECT value FROM boot_setting WHERE name = ?")?;
        Ok(select.query_row([name], |row| Ok(text(row, 0))).optional()?)
    }

    /// Sets all of these, or none.
    pub fn set_boot_settings(&mut self, settings: &[(&str, String)]) -> Result<(), StoreError> {
        self.promise(|db| {
            let mut insert = db.prepare_cached(
                "INSERT INTO boot_setting (name, value) VALUES (?, ?) \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )?;
            for (name, value) in settings {
                insert.execute([name, &value.as_str()])?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_counts() {
        let mut store = Store::in_memory().unwrap();
        assert_eq!(store.boot_setting("step").unwrap(), None);
        store.set_boot_settings(&[("step", "60".into()), ("servers", "a:1".into())]).unwrap();
        store.set_boot_settings(&[("step", "90".into())]).unwrap();
        let found = ["step", "servers"].map(|name| store.boot_setting(name).unwrap().unwrap());
        assert_eq!(found, ["90", "a:1"]);
    }
}
