//! The house rules that no compiler checks: layers, sizes, where unsafe code and files may be touched, and what the
//! documents say of the formats.
//!
//! Each rule is a test; a violation is reported with file and line. An exception is written down here, with its reason,
//! and one that nothing needs any more is a violation too.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The layers from the top down, and their modules. A module imports from layers below its own.
const LAYERS: [(&str, &[&str]); 5] = [
    (
        "api",
        &[
            "engine",
            "store",
            "writer",
            "reader",
            "snapshot",
            "batch",
            "cursor",
            "ticket",
            "bulk",
            "events",
            "state",
            "inspect",
            "remote",
            "as_of",
            "rollback_keys",
            "repair",
            "triggers",
        ],
    ),
    (
        "flows",
        &[
            "worker",
            "recover",
            "rescale",
            "barrier",
            "commit",
            "replay",
            "rollback",
            "beside",
            "causality",
            "group_commit",
            "flush",
            "checkpoint",
            "life_cycle",
            "compact",
            "migrate",
            "reclaim",
            "namespaces",
            "delete_range",
            "pop",
            "scan",
            "walk",
            "inflight",
            "cold",
            "warm",
            "past",
            "read",
            "change",
            "write",
        ],
    ),
    (
        "structures",
        &[
            "shard",
            "merged",
            "mask",
            "stack",
            "splice",
            "undone",
            "cache",
            "manifest",
            "segment",
            "changelog",
            "hot",
            "hot_list",
        ],
    ),
    (
        "base",
        &[
            "checksum",
            "codec",
            "convert",
            "error",
            "ids",
            "key",
            "metrics",
            "multiset",
            "options",
            "pacing",
            "packed",
            "purge_clock",
            "scope",
            "spans",
            "states",
            "stats",
        ],
    ),
    ("platform", &["platform"]),
];

/// Imports that go up, or from one flow to another: (from, to, why).
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("*flows", "store", "`StoreInner`, what every flow works on, stands beside its handle"),
    ("*flows", "engine", "the handle through which a store reaches its arena and threads"),
    ("write", "writer", "claiming a range makes its writer"),
    // A writer's operation is one flow in several files.
    ("read", "write", "`Halt`: how an operation stops for want of memory"),
    ("scan", "write", "`Halt`"),
    ("pop", "write", "`Halt`"),
    ("namespaces", "write", "`Halt`"),
    ("namespaces", "read", "reading what is moved"),
    ("namespaces", "change", "the changes of single keys that it is made of"),
    ("delete_range", "write", "`Halt`"),
    ("delete_range", "read", "whether anything is on disk"),
    ("delete_range", "scan", "`MapRange`, and what has to be deleted one by one"),
    ("delete_range", "change", "the changes of single keys, where they have to be made"),
    ("change", "read", "what is there before"),
    ("change", "write", "`Halt`"),
    ("change", "delete_range", "ranges of a map, where the changelog has them deleted"),
    ("scan", "read", "the one test of expiry"),
    ("pop", "read", "the one test of expiry; making way for what was read"),
    ("pop", "scan", "the layers above a map's newest clear"),
    ("pop", "change", "taking single entries out"),
    ("pop", "delete_range", "what was taken of a queue is hidden as a range"),
    ("walk", "read", "lookups of single keys, and the one test of expiry"),
    ("walk", "scan", "`MapRange`, and the layers above a map's newest clear"),
    // Down the line of a checkpoint: write or barrier, flush, checkpoint, reclaim.
    ("write", "flush", "a spill is a flush job"),
    ("barrier", "flush", "a barrier queues a flush job"),
    ("commit", "barrier", "the writer that asks, entered through its own token"),
    ("commit", "checkpoint", "what a store finds committed is its checkpoint's"),
    ("commit", "reclaim", "what was spilled of an undone transaction becomes garbage"),
    ("commit", "replay", "what is replayed is committed before anything else"),
    ("barrier", "replay", "a cut has everything"),
    ("causality", "barrier", "the lock under which writers' buffers are moved to the changelog"),
    ("replay", "commit", "what was replayed of a transactional store is committed"),
    ("replay", "write", "the writers that it is replayed by"),
    ("replay", "writer", "the same"),
    ("replay", "change", "changes are done again"),
    ("replay", "delete_range", "ranges of a map that have to be deleted entry by entry"),
    ("replay", "read", "the key area of a key"),
    ("replay", "warm", "a range is warmed up when it was replayed"),
    ("replay", "events", "events are applied again by their handlers"),
    ("replay", "rollback", "what was rolled back is rolled back again"),
    ("rollback", "checkpoint", "the catalogue, and what a manifest describes"),
    ("rollback", "compact", "the stacks of now may want compacting"),
    ("rollback", "reclaim", "what left the stacks becomes garbage"),
    ("rollback", "barrier", "what was done beside the store is cut off as for a snapshot"),
    ("rollback", "events", "events on the way to a position are applied again by their handlers"),
    ("rollback", "past", "how a position is reached: its checkpoint, and the changes from there on"),
    ("rollback", "recover", "the store beside the store, which a position is reached in"),
    ("rollback", "beside", "the same"),
    ("beside", "writer", "what it is written by"),
    ("rollback", "replay", "what is replayed comes before"),
    ("rollback", "worker", "`Task`: what is left behind goes in the background"),
    ("worker", "rollback", "it launches that"),
    ("worker", "group_commit", "it launches them"),
    ("recover", "replay", "what is to be replayed when a store is opened"),
    ("barrier", "checkpoint", "the job carries the request for a checkpoint; aborting a complete one releases it"),
    ("flush", "checkpoint", "the last step of a job is its checkpoint"),
    ("flush", "compact", "a flush has the stacks looked at"),
    ("life_cycle", "checkpoint", "`Catalogue`; letting go of a checkpoint"),
    ("flush", "reclaim", "the job that only deletes"),
    ("reclaim", "life_cycle", "which checkpoints nothing needs"),
    ("checkpoint", "reclaim", "a new checkpoint subsumes old ones"),
    ("compact", "reclaim", "inputs of a merge become garbage"),
    ("past", "checkpoint", "the arrangement that a kept checkpoint describes"),
    ("past", "commit", "what writers hold goes to the changelog before it is read back"),
    ("past", "read", "lookups of single keys, and the one test of expiry"),
    ("past", "scan", "`MapRange`, and the layers above a map's newest clear"),
    ("past", "write", "`Halt`"),
    ("migrate", "barrier", "what memory has of the state is flushed as for a snapshot"),
    ("migrate", "compact", "it is alone, as a load is; the rewriting is compaction's"),
    ("recover", "rescale", "restoring combines manifests first"),
    ("recover", "commit", "`CommitInfo`: what is committed when a store is opened"),
    ("recover", "checkpoint", "what a manifest describes, and the catalogue of a directory"),
    // Types that stand with the flow that gives them their meaning.
    ("checkpoint", "barrier", "`Barrier` and the shared half of `Pending`: what was asked for, and who waits"),
    ("reclaim", "checkpoint", "`Catalogue`, which it prunes"),
    ("recover", "flush", "an empty `Queue` for a new store"),
    ("recover", "compact", "an empty `Schedule` for a new store"),
    ("worker", "flush", "it launches them"),
    ("worker", "compact", "it launches them"),
    ("worker", "reclaim", "it launches them"),
    ("worker", "inflight", "it launches them"),
    ("worker", "warm", "it launches them"),
    ("warm", "worker", "the pace of work that nobody waits for"),
    ("warm", "cold", "the stream that its lookups go through"),
    ("warm", "read", "the one test of expiry; making way for what was read"),
    ("recover", "warm", "what a store is to be warmed up with"),
    ("checkpoint", "warm", "a complete checkpoint may want the hot list written anew"),
    ("inflight", "cold", "the stream that its lookups go through"),
    ("recover", "inflight", "an empty `Reads` for a new store"),
    ("recover", "worker", "`Task`: what a crash left behind goes in the background"),
    ("flush", "worker", "`Task`: more of the same in the background"),
    ("compact", "worker", "`Task`"),
];

/// Structures are siblings, but for these: (from, to).
const SIBLINGS: &[(&str, &str)] = &[
    ("cache", "segment"),
    ("manifest", "segment"),
    ("splice", "manifest"),
    ("splice", "stack"),
    ("undone", "stack"),
    ("stack", "cache"),
    ("stack", "manifest"),
    ("stack", "segment"),
    ("merged", "manifest"),
    ("merged", "mask"),
    ("merged", "segment"),
    ("merged", "stack"),
    ("shard", "changelog"),
    ("shard", "hot"),
    ("shard", "stack"),
];

/// The files with `unsafe` in them.
const UNSAFE: &[&str] = &[
    "flush.rs",
    "hot/bucket.rs",
    "hot/chain.rs",
    "hot/record.rs",
    "platform/arena/pages.rs",
    "platform/storage/buffer.rs",
    "platform/storage/log_group.rs",
    "platform/storage/mapping.rs",
    "platform/storage/ring.rs",
    "platform/storage/sys.rs",
    "platform/sync/barrier.rs",
    "platform/sync/face_std.rs",
    "platform/sync/gate/cell.rs",
    "platform/threads/background.rs",
    "segment/filter.rs",
];

/// Files of `hot/` and `platform/` that take atomics from `std`, and why that is no hole in the models.
const STD_ATOMICS: &[(&str, &str)] = &[
    ("platform/sync/barrier.rs", "a compiler fence, which models don't have; below the shim"),
    ("platform/sync/face_std.rs", "the shim"),
    ("platform/storage/counters.rs", "statistics: no protocol"),
    ("platform/storage/files.rs", "a flag that is set once and never cleared"),
    ("platform/storage/reading.rs", "a flag that is set once and never cleared"),
    ("platform/storage/uring.rs", "a flag that is set once and never cleared"),
];

/// Files that take locks, channels, threads or clocks from elsewhere than `platform/threads`, and why no simulation needs them.
const OTHER_THREADS: &[(&str, &str)] = &[
    ("platform/sync/barrier.rs", "the process's, registered once"),
    ("platform/sync/face_std.rs", "threads of tests"),
    ("remote/runtime.rs", "tokio's thread, whose time and sockets no simulation has"),
    ("store/paced.rs", "how many processors there are"),
];

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

struct Source {
    /// From the folder that was asked for.
    name: String,
    lines: Vec<String>,
    /// Whether the line is code of tests.
    in_tests: Vec<bool>,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

/// The Rust files in a folder and the folders in it, in the order of their names.
fn sources(folder: &str) -> Vec<Source> {
    let root = workspace().join(folder);
    let mut names = Vec::new();
    walk(&root, &mut names);
    names.sort();
    let mut of_tests = BTreeSet::new();
    let mut sources: Vec<Source> = Vec::new();
    for path in names {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let (in_tests, modules) = test_lines(&lines);
        let folder = match path.file_stem().and_then(|stem| stem.to_str()) {
            Some("mod" | "lib" | "main") => path.parent().expect("a folder").to_owned(),
            _ => path.with_extension(""),
        };
        of_tests.extend(modules.into_iter().map(|module| folder.join(module)));
        let name = path.strip_prefix(&root).expect("a path in the folder").display().to_string();
        sources.push(Source { name, lines, in_tests });
    }
    for source in &mut sources {
        let path = root.join(&source.name);
        let module = path.with_extension("");
        if of_tests.iter().any(|of_tests| module.starts_with(of_tests)) {
            source.in_tests.fill(true);
        }
    }
    sources
}

fn walk(folder: &Path, names: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                walk(&path, names);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            names.push(path);
        }
    }
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The last line of what starts at `from`: the formatter puts a closing brace under the first letter of its item.
fn item_end(lines: &[String], from: usize) -> usize {
    let first = lines[from..].iter().position(|line| line.ends_with(['{', ';', '}'])).unwrap_or(0) + from;
    if lines[first].ends_with([';', '}']) {
        return first;
    }
    let depth = indentation(&lines[from]);
    let closes = |line: &String| indentation(line) == depth && line.trim_start().starts_with('}');
    lines[first + 1..].iter().position(closes).map_or(lines.len() - 1, |at| first + 1 + at)
}

/// Which lines belong to items for tests, and the modules declared for tests in other files.
fn test_lines(lines: &[String]) -> (Vec<bool>, Vec<String>) {
    let mut in_tests = vec![false; lines.len()];
    let mut modules = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at].trim_start();
        if line != "#[cfg(test)]" && !line.starts_with("#[cfg(all(test,") {
            at += 1;
            continue;
        }
        let start = at;
        while lines[at].trim_start().starts_with("#[") {
            at += 1;
        }
        let end = item_end(lines, at);
        let module = lines[at].split_once("mod ").and_then(|(_, rest)| rest.strip_suffix(';'));
        modules.extend(module.map(str::to_owned));
        in_tests[start..=end].fill(true);
        at = end + 1;
    }
    (in_tests, modules)
}

impl Source {
    /// The code that ships, without comments: (line number, text).
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.lines.iter().enumerate().filter(|(at, _)| !self.in_tests[*at]);
        lines.map(|(at, line)| (at + 1, line.split("//").next().unwrap_or(line)))
    }

    fn module(&self) -> &str {
        self.name.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    fn in_folder(&self, folder: &str) -> bool {
        self.module() == folder
    }
}

fn report(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}:\n  {}\n", violations.join("\n  "));
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, modules)| modules.contains(&module))
}

/// The modules of the crate that a line names.
fn imports(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).flat_map(|rest| {
        let (list, names) = match rest.strip_prefix('{') {
            Some(list) => (true, list),
            None => (false, rest),
        };
        let names = if list { names.split(", ").collect() } else { vec![names] };
        names.into_iter().map(|name: &str| {
            let end = name.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_');
            &name[..end.unwrap_or(name.len())]
        })
    })
}

/// Whether an import is allowed; notes the exception that it needs.
fn allowed(from: &str, to: &str, used: &mut BTreeSet<usize>, siblings: &mut BTreeSet<usize>) -> bool {
    let (Some(upper), Some(lower)) = (layer(from), layer(to)) else { return layer(to).is_none() };
    let kind = LAYERS[upper].0;
    if from == to || upper < lower || (upper == lower && matches!(kind, "api" | "base")) {
        return true;
    }
    if let Some(at) = SIBLINGS.iter().position(|&pair| pair == (from, to)) {
        siblings.insert(at);
        return true;
    }
    let fits = |of: &str| of == from || of.strip_prefix('*') == Some(kind);
    match EXCEPTIONS.iter().position(|&(of, target, _)| fits(of) && target == to) {
        Some(at) => {
            used.insert(at);
            true
        }
        None => false,
    }
}

#[test]
fn imports_go_down() {
    let (mut violations, mut used, mut siblings) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for source in sources("engine/src") {
        let from = source.module();
        if from == "lib" {
            continue;
        }
        if layer(from).is_none() {
            violations.push(format!("{}: in no layer; name its layer in this test", source.name));
        }
        for (number, line) in source.code() {
            for to in imports(line) {
                if !allowed(from, to, &mut used, &mut siblings) {
                    violations.push(format!("{}:{number}: {from} imports {to}", source.name));
                }
            }
        }
    }
    let unused = |used: &BTreeSet<usize>, count| (0..count).filter(|at| !used.contains(at)).collect::<Vec<_>>();
    for at in unused(&used, EXCEPTIONS.len()) {
        violations.push(format!("nothing needs the exception {:?} any more", EXCEPTIONS[at]));
    }
    for at in unused(&siblings, SIBLINGS.len()) {
        violations.push(format!("nothing needs the siblings {:?} any more", SIBLINGS[at]));
    }
    report("imports go down", &violations);
}

#[test]
fn files_are_touched_in_one_file() {
    let mut violations = Vec::new();
    for source in sources("engine/src") {
        for (number, line) in source.code() {
            if line.contains("std::fs") && source.name != "platform/storage/files.rs" {
                violations.push(format!("{}:{number}: {}", source.name, line.trim()));
            }
        }
    }
    report("`std::fs` stands in platform/storage/files.rs only", &violations);
}

#[test]
fn atomics_come_through_the_shim() {
    let (mut violations, mut used) = (Vec::new(), BTreeSet::new());
    for source in sources("engine/src") {
        // Elsewhere in the engine nothing is modelled: there are flags and counts, behind locks or without a protocol.
        if !source.in_folder("hot") && !source.in_folder("platform") && source.name != "shard.rs" {
            continue;
        }
        for (number, line) in source.code().filter(|(_, line)| line.contains("std::sync::atomic")) {
            match STD_ATOMICS.iter().find(|(file, _)| *file == source.name) {
                Some((file, _)) => _ = used.insert(*file),
                None => violations.push(format!("{}:{number}: {}", source.name, line.trim())),
            }
        }
    }
    for (file, _) in STD_ATOMICS.iter().filter(|(file, _)| !used.contains(file)) {
        violations.push(format!("{file} needs no exception any more"));
    }
    report("atomics come from platform::sync, so that models see them", &violations);
}

#[test]
fn what_threads_wait_on_comes_from_one_place() {
    let theirs = [
        "parking_lot::",
        "crossbeam::channel",
        "std::thread::",
        "use std::thread",
        "Instant::now",
        "SystemTime::now",
        ".elapsed()",
    ];
    let (mut violations, mut used) = (Vec::new(), BTreeSet::new());
    for source in sources("engine/src").into_iter().filter(|source| !source.name.starts_with("platform/threads/")) {
        for (number, line) in source.code().filter(|(_, line)| theirs.iter().any(|theirs| line.contains(theirs))) {
            match OTHER_THREADS.iter().find(|(file, _)| *file == source.name) {
                Some((file, _)) => _ = used.insert(*file),
                None => violations.push(format!("{}:{number}: {}", source.name, line.trim())),
            }
        }
    }
    for (file, _) in OTHER_THREADS.iter().filter(|(file, _)| !used.contains(file)) {
        violations.push(format!("{file} needs no exception any more"));
    }
    report(
        "locks, channels, threads and clocks come from platform::threads, so that a simulation has them",
        &violations,
    );
}

#[test]
fn unsafe_code_stands_in_few_files() {
    let (mut violations, mut used) = (Vec::new(), BTreeSet::new());
    for source in sources("engine/src") {
        let has_word = |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
        for (number, line) in source.code().filter(|(_, line)| has_word(line)) {
            match UNSAFE.iter().find(|file| **file == source.name) {
                Some(file) => _ = used.insert(*file),
                None => violations.push(format!("{}:{number}: {}", source.name, line.trim())),
            }
        }
    }
    for file in UNSAFE.iter().filter(|file| !used.contains(*file)) {
        violations.push(format!("{file} has no unsafe code any more"));
    }
    report("unsafe code stands in few files", &violations);
}

#[test]
fn code_that_ships_neither_panics_on_purpose_nor_is_unfinished() {
    let panics = [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "unreachable!("];
    // Split, so that this list is no violation.
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut violations = Vec::new();
    for folder in ["engine/src", "engine/cli/src"] {
        for source in sources(folder) {
            for (number, line) in source.code() {
                if panics.iter().any(|panic| line.contains(panic)) {
                    violations.push(format!("{folder}/{}:{number}: {}", source.name, line.trim()));
                }
            }
        }
    }
    for folder in ["engine", "benches", "fuzz"] {
        for source in sources(folder) {
            for (at, line) in source.lines.iter().enumerate() {
                if notes.iter().any(|note| line.contains(note)) {
                    violations.push(format!("{folder}/{}:{}: {}", source.name, at + 1, line.trim()));
                }
            }
        }
    }
    report("no panics on purpose, nothing unfinished", &violations);
}

#[test]
fn files_and_functions_are_short() {
    let mut violations = Vec::new();
    for folder in ["engine", "benches", "fuzz"] {
        for source in sources(folder) {
            let name = format!("{folder}/{}", source.name);
            if source.lines.len() > FILE_LINES_MAX {
                violations.push(format!("{name}: {} lines", source.lines.len()));
            }
            for (at, line) in source.lines.iter().enumerate().filter(|(_, line)| is_function(line)) {
                let lines = item_end(&source.lines, at) - at + 1;
                if lines > FUNCTION_LINES_MAX {
                    violations.push(format!("{name}:{}: {lines} lines: {}", at + 1, line.trim()));
                }
            }
        }
    }
    report(&format!("files have at most {FILE_LINES_MAX} lines, functions at most {FUNCTION_LINES_MAX}"), &violations);
}

fn is_function(line: &str) -> bool {
    let words = line.trim_start().split(' ').take_while(|word| !word.contains('(') || word.starts_with("pub("));
    let mut last = "";
    for word in words {
        if word == "fn" {
            return true;
        }
        if !matches!(word, "pub" | "const" | "unsafe" | "async" | "extern" | "\"C\"") && !word.starts_with("pub(") {
            return false;
        }
        last = word;
    }
    last == "fn"
}

#[test]
fn modules_begin_with_what_they_are() {
    let mut violations = Vec::new();
    for folder in ["engine/src", "engine/cli/src", "benches/src"] {
        for source in sources(folder) {
            if !source.lines.first().is_some_and(|line| line.starts_with("//!")) {
                violations.push(format!("{folder}/{}", source.name));
            }
        }
    }
    report("every file begins with a comment that says what it is", &violations);
}

/// The value of `pub const NAME: T = value;` in a file.
fn constant(file: &str, name: &str) -> String {
    let path = workspace().join("engine/src").join(file);
    let text = std::fs::read_to_string(&path).expect("a source file");
    let start = format!("const {name}: ");
    let line = text.lines().find(|line| line.contains(&start)).unwrap_or_else(|| panic!("{file} has no {name}"));
    line.split(" = ").nth(1).expect("a value").trim_end_matches(';').trim_matches(['*', 'b', '"']).to_owned()
}

#[test]
fn the_format_document_has_the_versions_and_constants_of_the_code() {
    let document = std::fs::read_to_string(workspace().join("docs/format.md")).expect("docs/format.md");
    let value = |text: &str| -> u64 {
        let parse = |text: &str| text.trim().replace('_', "").parse::<u64>().expect("a number");
        text.split_once("<<").map_or_else(|| parse(text), |(base, by)| parse(base) << parse(by))
    };
    let grouped = |number: u64| {
        let digits = number.to_string();
        let groups: Vec<&str> =
            digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
        groups.join(",")
    };
    let version = |file: &str| {
        let (magic, version) = (constant(file, "MAGIC"), constant(file, "VERSION"));
        format!("| 0 | magic | 8 bytes | `{magic}` |\n| 8 | version | u32 | {version} |\n")
    };
    let wanted = [
        version("segment/format.rs"),
        version("manifest/format.rs"),
        format!("| version | u32 | of the segment: {} |", constant("segment/format.rs", "VERSION")),
        format!("| closing superblock | {} |", value(&constant("segment/format.rs", "SUPERBLOCK_BYTES"))),
        format!("| opening page | {} |", grouped(value(&constant("segment/format.rs", "PAGE_BYTES")))),
        format!("{} bytes of metadata", grouped(value(&constant("segment/format.rs", "METADATA_PAGE_BYTES")))),
        format!("| head | {} |", value(&constant("manifest/format.rs", "HEAD_BYTES"))),
        format!("| digest | {}: ", value(&constant("manifest/format.rs", "DIGEST_BYTES"))),
        version("changelog/format.rs"),
        format!("| 0 | magic | 4 bytes | `{}` |", constant("changelog/format.rs", "BLOCK_MAGIC")),
        format!("| `<16 hex>{}` |", constant("platform/storage/names.rs", "CHANGELOG")),
        format!("| `<16 hex>{}` |", constant("platform/storage/names.rs", "HOT_LIST")),
        version("hot_list/format.rs"),
        format!("| table | {} × chunks |", value(&constant("hot_list/format.rs", "CHUNK_ENTRY_BYTES"))),
        format!("| trailer | {} |", value(&constant("hot_list/format.rs", "TRAILER_BYTES"))),
        format!("at most {} bytes each", grouped(value(&constant("hot_list/format.rs", "CHUNK_BYTES_MAX")))),
        format!("| `{}` |", constant("platform/storage/names.rs", "LOCK")),
        format!("| `<32 hex>{}` |", constant("platform/storage/names.rs", "SEGMENT")),
        format!("| `<16 hex>{}` |", constant("platform/storage/names.rs", "MANIFEST")),
        format!("`<16 hex>.manifest{}`", constant("platform/storage/names.rs", "TEMPORARY")),
        format!("together have at most {} bytes", grouped(value(&constant("key.rs", "KEY_BYTES_MAX")))),
        format!("{} bytes of value", grouped(value(&constant("key.rs", "VALUE_BYTES_MAX")))),
    ];
    let missing: Vec<String> = wanted.into_iter().filter(|text| !document.contains(text)).collect();
    report("docs/format.md says what the code does; it lacks", &missing);
}

#[test]
fn documents_name_files_that_exist() {
    let root = workspace();
    let mut violations = Vec::new();
    let mut documents: Vec<_> = ["README.md", "CHANGELOG.md", "ffi/README.md", "ffi/java/alluvium-java/README.md"]
        .map(|name| root.join(name))
        .into();
    for folder in ["docs", "docs/decisions"] {
        let entries = std::fs::read_dir(root.join(folder)).expect("a folder of documents");
        documents.extend(entries.map(|entry| entry.expect("an entry").path()));
    }
    for document in documents.iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(document).expect("a document");
        let folder = document.parent().expect("a folder");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or(link);
            if !path.is_empty() && !path.contains("://") && !folder.join(path).exists() {
                violations.push(format!("{}: {link}", document.display()));
            }
        }
        for word in text.split('`').skip(1).step_by(2) {
            let ours = ["engine/", "docs/", "fuzz/", "benches/", ".ci/"].iter().any(|folder| word.starts_with(folder));
            if ours && !word.contains([' ', '*', '<']) && !root.join(word).exists() {
                violations.push(format!("{}: {word}", document.display()));
            }
        }
    }
    report("documents name files that exist", &violations);
}

#[test]
fn the_document_of_tests_has_all_safeguards() {
    let read = |path: &str| std::fs::read_to_string(workspace().join(path)).unwrap();
    let (code, document) = (read("engine/src/platform/safeguards.rs"), read("docs/testing.md"));
    let names = code.lines().filter_map(|line| line.trim().strip_prefix("Safeguard::")?.strip_suffix(','));
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 10, "{names:?}");
    let missing: Vec<&&str> = names.iter().filter(|name| !document.contains(&format!("| `{name}` |"))).collect();
    assert!(missing.is_empty(), "not in docs/testing.md: {missing:?}");
}

#[test]
fn the_readme_example_is_the_one_that_is_tested() {
    let text = std::fs::read_to_string(workspace().join("README.md")).expect("README.md");
    assert!(text.contains("```rust\n"), "the README has no example");
    assert!(text.contains("./test") && text.contains("cargo run --release -- run"), "the README lacks its commands");
}
