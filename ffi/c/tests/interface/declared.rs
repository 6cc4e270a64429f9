//! What a header declares, as cbindgen writes it.

use std::path::Path;

/// A header's declarations, each in its order.
#[derive(Debug, Default)]
pub struct Header {
    /// Constants, and their values.
    pub numbers: Vec<(String, String)>,
    /// Other names of types, and types of callbacks, each in one line.
    pub types: Vec<String>,
    pub structures: Vec<Structure>,
    pub functions: Vec<Function>,
}

#[derive(Debug)]
pub struct Structure {
    pub name: String,
    /// Each with its type.
    pub fields: Vec<String>,
}

#[derive(Debug)]
pub struct Function {
    /// All of it, in one line.
    pub prototype: String,
    pub returns: String,
    pub name: String,
    pub parameters: Vec<Parameter>,
}

#[derive(Debug)]
pub struct Parameter {
    /// Its type.
    pub kind: String,
    pub name: String,
}

impl Header {
    /// The header that is committed.
    pub fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/alluvium.h");
        Self::of(&std::fs::read_to_string(path).unwrap())
    }

    /// What a header of this text declares.
    pub fn of(text: &str) -> Self {
        let (mut header, mut code) = (Self::default(), String::new());
        for line in without_comments(text).lines() {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["#define", name, value] => header.numbers.push((name.to_owned(), value.to_owned())),
                [first, ..] if first.starts_with('#') => {}
                ["extern", "\"C\"", "{"] | ["}", "//", ..] => {}
                _ => code.extend([line, "\n"]),
            }
        }
        declarations(&code).into_iter().for_each(|declaration| header.add(declaration));
        header
    }

    fn add(&mut self, declaration: String) {
        if let Some(structure) = declaration.strip_prefix("typedef struct {") {
            let (fields, name) = structure.rsplit_once('}').unwrap();
            let fields = fields.split_terminator(';').map(|field| field.trim().to_owned());
            let fields = fields.filter(|field| !field.is_empty()).collect();
            self.structures.push(Structure { name: name.trim().to_owned(), fields });
        } else if declaration.starts_with("typedef ") {
            self.types.push(declaration);
        } else {
            self.functions.push(Function::of(declaration));
        }
    }

    /// Whether values of this type are handles.
    pub fn is_handle(&self, kind: &str) -> bool {
        self.fields(kind) == Some(&["uint64_t id".to_owned()][..])
    }

    /// Whether what a pointer of this type points to begins with its own size.
    pub fn is_sized(&self, kind: &str) -> bool {
        let pointed = pointed_to(kind).and_then(|kind| self.fields(kind));
        pointed.is_some_and(|fields| fields[0] == "uint32_t size")
    }

    fn fields(&self, kind: &str) -> Option<&[String]> {
        self.structures.iter().find(|structure| structure.name == kind).map(|structure| &structure.fields[..])
    }
}

/// What a pointer of this type points to.
pub fn pointed_to(kind: &str) -> Option<&str> {
    let kind = kind.strip_suffix('*')?.trim();
    Some(kind.strip_prefix("const ").unwrap_or(kind))
}

impl Function {
    fn of(prototype: String) -> Self {
        let (head, parameters) = prototype.strip_suffix(')').and_then(|all| all.split_once('(')).expect(&prototype);
        let (returns, name) = split_name(head);
        let parameter = |text: &str| {
            let (kind, name) = split_name(text.trim());
            Parameter { kind, name }
        };
        let parameters = if parameters == "void" { Vec::new() } else { parameters.split(',').map(parameter).collect() };
        Self { returns, name, parameters, prototype }
    }
}

/// A type, and the name behind it.
fn split_name(text: &str) -> (String, String) {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let at = text.rfind(|letter| !is_of_name(letter)).map_or(0, |before| before + 1);
    (text[..at].trim().to_owned(), text[at..].to_owned())
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("/*");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |code, part| code + part.split_once("*/").expect("a comment ends").1)
}

/// Each in one line, without the semicolon.
fn declarations(code: &str) -> Vec<String> {
    let (mut found, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, letter) in code.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ';' if depth == 0 => {
                found.push(code[from..at].split_whitespace().collect::<Vec<_>>().join(" "));
                from = at + 1;
            }
            _ => {}
        }
    }
    assert!(depth == 0 && code[from..].trim().is_empty(), "the header ends in the middle: {}", &code[from..]);
    found
}
