//! How commands are run on this host: `[exec]` of the configuration, checked.

use std::time::Duration;

/// See gearman.conf(5).
#[derive(Debug, Clone)]
pub struct ExecSettings {
    /// Absolute path of the shell.
    pub shell: String,
    /// Commands that run at the same time.
    pub max_children: usize,
    /// Bytes kept of each stream.
    pub output_limit: usize,
    /// Where a request names none.
    pub timeout: Duration,
    /// Between the first, second and third time-out.
    pub grace: Duration,
    /// Where not empty, a command must match one of them whole.
    pub allow: AllowList,
}

/// Regular expressions of which a command must match one, whole.
#[derive(Debug, Clone, Default)]
pub struct AllowList(Vec<regex_lite::Regex>);

impl AllowList {
    /// # Errors
    /// The expression that is none, and why.
    pub fn new(expressions: &[String]) -> Result<Self, String> {
        let whole = |expression: &String| {
            regex_lite::Regex::new(expression).map_err(|e| format!("{expression:?}: {e}"))?;
            regex_lite::Regex::new(&format!(r"\A(?:{expression})\z"))
                .map_err(|e| format!("{expression:?}: {e}"))
        };
        expressions.iter().map(whole).collect::<Result<_, _>>().map(AllowList)
    }

    pub fn permits(&self, cmd: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|expression| expression.is_match(cmd))
    }
}

#[cfg(test)]
mod tests {
    use super::AllowList;

    #[test]
    fn a_command_must_match_whole() {
        let list = AllowList::new(&["uptime|df( -h)?".into(), "ls /tmp".into()]).unwrap();
        for permitted in ["uptime", "df", "df -h", "ls /tmp"] {
            assert!(list.permits(permitted), "{permitted}");
        }
        for refused in ["uptime; rm -rf /", "xuptime", "df -h\nrm", "ls /tmp/", ""] {
            assert!(!list.permits(refused), "{refused}");
        }
        assert!(AllowList::default().permits("anything"));
    }

    #[test]
    fn an_expression_cannot_break_out_of_its_frame() {
        assert!(AllowList::new(&["ls)|(.*".into()]).is_err());
        assert!(AllowList::new(&["(".into()]).unwrap_err().contains("\"(\""));
    }
}
