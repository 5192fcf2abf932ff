//! A manual page, as far as tests read it: mdoc(7), one macro a line.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeSet;
use std::path::Path;

pub struct Page(String);

impl Page {
    /// The page of `man/`, below the root of the sources.
    pub fn read(root: &Path, name: &str) -> Page {
        let path = root.join("man").join(name);
        Page(std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    /// The lines of the (sub)section with this title.
    pub fn section(&self, title: &str) -> Section<'_> {
        let head = |line: &&str| line.starts_with(".Sh ") || line.starts_with(".Ss ");
        let lines = self.0.lines().skip_while(|line| !head(line) || line[4..] != *title).skip(1);
        let lines: Vec<&str> = lines.take_while(|line| !head(line)).collect();
        assert!(!lines.is_empty(), "there is no section {title:?}");
        Section(lines)
    }

    pub fn whole(&self) -> Section<'_> {
        Section(self.0.lines().collect())
    }
}

pub struct Section<'a>(Vec<&'a str>);

impl Section<'_> {
    /// Its words, with single spaces.
    pub fn text(&self) -> String {
        self.0.iter().map(|line| plain(line)).collect::<Vec<_>>().join(" ")
    }

    /// What stands in it as it would be typed or sent, a display each.
    pub fn displays(&self) -> Vec<String> {
        let mut displays = Vec::new();
        let mut lines = self.0.iter();
        while lines.by_ref().any(|line| line.starts_with(".Bd -literal")) {
            let display: Vec<&str> =
                lines.by_ref().take_while(|line| !line.starts_with(".Ed")).copied().collect();
            displays.push(display.join("\n"));
        }
        displays
    }

    /// Every flag that it names, with its dashes.
    pub fn flags(&self) -> BTreeSet<String> {
        let mut flags = BTreeSet::new();
        for line in self.0.iter().filter(|line| line.starts_with('.')) {
            let mut is_flag = false;
            for word in line[1..].split_whitespace() {
                if is_macro(word) {
                    is_flag = word == "Fl";
                } else if is_flag && word.starts_with(|c: char| c == '-' || c.is_ascii_alphanumeric()) {
                    flags.insert(format!("-{word}"));
                }
            }
        }
        flags
    }

    /// Its list's entries: what stands beside `.It`, and the text below.
    pub fn items(&self) -> Vec<(String, String)> {
        let mut items: Vec<(String, String)> = Vec::new();
        for line in &self.0 {
            if line.starts_with(".It") {
                items.push((plain(line), String::new()));
            } else if line.starts_with(".El") {
                items.push(Default::default());
            } else if let Some((_, text)) = items.last_mut() {
                text.push_str(&plain(line));
                text.push(' ');
            }
        }
        items.retain(|(head, _)| !head.is_empty());
        items
    }

    /// The first word beside each `.It NAME`, where `name` is a macro.
    pub fn items_of(&self, name: &str) -> BTreeSet<String> {
        let begin = format!(".It {name} ");
        let words = self.0.iter().filter_map(|line| line.strip_prefix(&begin)?.split(' ').next());
        words.map(str::to_owned).collect()
    }

    /// Every name beside each `.It Cm`, commas between them.
    pub fn names(&self) -> BTreeSet<String> {
        let lines = self.0.iter().filter_map(|line| line.strip_prefix(".It Cm "));
        lines.flat_map(|names| names.split(" , ")).map(str::to_owned).collect()
    }
}

/// The flags at the beginnings of the lines of a program's help.
pub fn flags_of_help(help: &str) -> BTreeSet<String> {
    let flags = |line: &str| -> Vec<String> {
        let words = line.split_whitespace().map(|word| word.trim_end_matches(','));
        words.take_while(|word| word.starts_with('-')).map(str::to_owned).collect()
    };
    help.lines().flat_map(flags).collect()
}

/// The line without its macros and their marks.
fn plain(line: &str) -> String {
    let words = match line.strip_prefix('.') {
        None => line.to_owned(),
        Some(macros) => {
            macros.split_whitespace().filter(|word| !is_macro(word)).collect::<Vec<_>>().join(" ")
        }
    };
    let text = words.replace("\\&", "");
    // A delimiter stands alone behind a macro.
    [" ,", " .", " ;", " :"].iter().fold(text, |text, mark| text.replace(mark, &mark[1..]))
}

fn is_macro(word: &str) -> bool {
    matches!(word.as_bytes(), [first, second] if first.is_ascii_uppercase() && second.is_ascii_lowercase())
}
