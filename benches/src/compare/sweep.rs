//! `benches/sweep` asks for cases and engines that there are, and leaves no case out.

use super::{Engine, apart, is_of, names};
use crate::harness::Outcome;
use std::path::Path;
use std::process::Command;

/// What `compare` is told: cases, some as the beginnings of names, and engines.
#[derive(Default)]
struct Told {
    cases: Vec<String>,
    engines: Vec<String>,
}

/// What the script would run at eleven in the evening, by a `cargo` that only notes what it is told.
fn told(groups: &[&str], until: Option<&str>) -> Outcome<Vec<Told>> {
    let folder = tempfile::tempdir()?;
    let notes = folder.path().join("notes");
    std::fs::write(&notes, "")?;
    let scripts = [("cargo", format!("printf '%s\\n' \"$*\" >>{}", notes.display())), ("date", "echo 2300".to_owned())];
    for (name, script) in scripts {
        let file = folder.path().join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n"))?;
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("sweep"))
        .args(groups)
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .env_remove("SWEEP_RECORD")
        .env_remove("SWEEP_DIRECTORY")
        .env_remove("SWEEP_UNTIL")
        .envs(until.map(|until| ("SWEEP_UNTIL", until)))
        .output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let notes = std::fs::read_to_string(&notes)?;
    Ok(notes.lines().map(words).collect())
}

fn words(line: &str) -> Told {
    let start = "run --quiet --release -p alluvium-bench --features peers -- compare ";
    let words: Vec<_> = line.strip_prefix(start).unwrap_or_default().split(' ').collect();
    let mut told = Told::default();
    for option in words.chunks(2) {
        match option {
            ["--case", case] => told.cases.push((*case).to_owned()),
            ["--engine", engine] => told.engines.push((*engine).to_owned()),
            ["--repeats", number] => assert!(["1", "3"].contains(number), "{line}"),
            ["--directory", "."] | ["--record", "sweep.jsonl"] => {}
            other => panic!("{other:?} in {line}"),
        }
    }
    told
}

#[test]
fn the_sweep_has_each_case_once_and_only_what_there_is() -> Outcome {
    let mut told = told(&[], None)?;
    told.extend(self::told(&["steady"], None)?);
    let has = |told: &Told, name: &str| told.cases.iter().any(|case| is_of(case, name));
    for one in &told {
        for case in &one.cases {
            assert!(names().iter().any(|name| is_of(case, name)), "{case}");
        }
        for engine in &one.engines {
            // Others are known with the feature alone.
            let is_known = <Engine as clap::ValueEnum>::from_str(engine, false).is_ok();
            assert!(is_known || !cfg!(feature = "peers"), "{engine}");
            let takes_part = |name: &&str| has(one, name) && apart::why_not(name, engine).is_none();
            assert!(names().iter().any(takes_part), "{engine} in {:?}", one.cases);
        }
    }
    let ours = Engine::Alluvium.name();
    for name in names() {
        let times = told.iter().filter(|told| has(told, name) && told.engines.contains(&ours)).count();
        assert_eq!(times, 1, "{name}");
    }
    Ok(())
}

#[test]
fn nothing_is_begun_when_it_is_late() -> Outcome {
    assert!(told(&["hot"], Some("2230"))?.is_empty());
    assert!(!told(&["hot"], Some("2330"))?.is_empty());
    Ok(())
}
