//! A source file as its tokens, so that neither comments nor strings are
//! taken for code, and without what is compiled for tests only.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

#[derive(Debug)]
pub struct Source {
    /// From the root of the tree.
    pub path: String,
    pub lines: Vec<String>,
    pub tokens: Vec<Token>,
    /// Lines of what is compiled for tests only.
    tests: Vec<RangeInclusive<usize>>,
    /// Modules in files of their own that are compiled for tests only.
    test_modules: Vec<String>,
}

/// A word, a literal, a punctuation mark (`::` is one), or one side of a pair of brackets.
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

impl Source {
    pub fn parse(path: &str, text: &str) -> Source {
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut source = Source {
            path: path.to_owned(),
            lines: text.lines().map(str::to_owned).collect(),
            tokens: Vec::new(),
            tests: Vec::new(),
            test_modules: Vec::new(),
        };
        source.flatten(tokens);
        source
    }

    /// The lines on which these tokens, blanks between them, stand one after the other.
    pub fn find<'a>(&'a self, pattern: &'a str) -> impl Iterator<Item = usize> + 'a {
        let words: Vec<&str> = pattern.split(' ').collect();
        let starts = self.tokens.windows(words.len());
        starts
            .filter(move |tokens| tokens.iter().map(|token| &token.text).eq(&words))
            .map(|tokens| tokens[0].line)
    }

    /// Lines with their numbers, without those for tests.
    pub fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.lines.iter().enumerate().map(|(index, line)| (index + 1, line.as_str()));
        numbered.filter(|(number, _)| !self.tests.iter().any(|tests| tests.contains(number)))
    }

    fn flatten(&mut self, tokens: TokenStream) {
        let mut rest = tokens.into_iter().peekable();
        while let Some(tree) = rest.next() {
            if let (TokenTree::Punct(hash), Some(TokenTree::Group(attribute))) = (&tree, rest.peek())
                && hash.as_char() == '#'
                && is_for_tests(attribute)
            {
                let first = hash.span().start().line;
                rest.next();
                self.skip_item(first, &mut rest);
                continue;
            }
            self.push(tree);
        }
    }

    fn push(&mut self, tree: TokenTree) {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = brackets(group.delimiter());
                self.tokens.push(Token { text: open.into(), line });
                self.flatten(group.stream());
                self.tokens.push(Token { text: close.into(), line: group.span_close().start().line });
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' => match self.tokens.last_mut() {
                // Only a path has two colons side by side.
                Some(last) if last.text == ":" => "::".clone_into(&mut last.text),
                _ => self.tokens.push(Token { text: ":".into(), line }),
            },
            other => self.tokens.push(Token { text: other.to_string(), line }),
        }
    }

    /// Passes over what an attribute for tests stands before: to its body or its
    /// semicolon, or, where it is a field, to its comma.
    fn skip_item(&mut self, first: usize, rest: &mut impl Iterator<Item = TokenTree>) {
        let mut words: Vec<String> = Vec::new();
        for tree in rest {
            let last = tree.span().end().line;
            let text = tree.to_string();
            let ends = match &tree {
                TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                TokenTree::Punct(mark) if mark.as_char() == ';' => {
                    if let [.., keyword, name] = &words[..]
                        && keyword == "mod"
                    {
                        self.test_modules.push(name.clone());
                    }
                    true
                }
                TokenTree::Punct(mark) => {
                    mark.as_char() == ',' && words.get(1).is_some_and(|word| word == ":")
                }
                _ => false,
            };
            if ends {
                self.tests.push(first..=last);
                return;
            }
            words.push(text);
        }
    }

    fn is_for_tests(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.ends_with("_tests.rs") || self.path.contains("/tests/")
    }
}

fn is_for_tests(attribute: &Group) -> bool {
    let text = attribute.stream().to_string();
    text.starts_with("cfg") && text.contains("test") && !text.contains("not")
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

/// All sources below the folders, in order, without those that are for tests only.
pub fn read_all(root: &Path, folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        walk(&root.join(folder), &mut |path| {
            if path.extension().is_some_and(|extension| extension == "rs") {
                let shown =
                    path.strip_prefix(root).expect("it is below the root").to_string_lossy().into_owned();
                paths.push(shown);
            }
        });
    }
    paths.sort();
    let read = |path: &String| Source::parse(path, &fs::read_to_string(root.join(path)).expect(path));
    let mut sources: Vec<Source> = paths.iter().map(read).collect();
    let declared: Vec<String> = sources.iter().flat_map(Source::test_files).collect();
    sources.retain(|source| {
        !source.is_for_tests() && !declared.iter().any(|start| source.path.starts_with(start.as_str()))
    });
    sources
}

impl Source {
    /// How the paths of its modules for tests begin.
    fn test_files(&self) -> Vec<String> {
        let home = match self.path.rsplit_once('/') {
            Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_owned(),
            _ => self.path.trim_end_matches(".rs").to_owned(),
        };
        let modules = self.test_modules.iter();
        modules.flat_map(|name| [format!("{home}/{name}.rs"), format!("{home}/{name}/")]).collect()
    }
}

/// Every file below a folder that git would see (nothing that cargo built).
pub fn walk(folder: &Path, found: &mut impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() && !path.ends_with("target") {
            walk(&path, found);
        } else if path.is_file() {
            found(&path);
        }
    }
}
