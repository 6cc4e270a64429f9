//! `alluvium run --poison` as a user starts it, on a small file of flights: it repairs itself, also when it is killed meanwhile.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::path::Path;
use std::process::{Command, Output};

/// Flights of a few planes over some days.
fn flights(path: &Path) {
    let mut csv = "time_hour,minute,dep_delay,arr_delay,carrier,flight,tailnum,origin,dest,distance\n".to_owned();
    for number in 0..2_000_u32 {
        let (day, hour, minute) = (1 + number / 200, number % 200 / 10 + 3, number % 10 * 6);
        let carrier = ["UA", "AA", "B6"][(number % 3) as usize];
        let origin = ["EWR", "JFK", "LGA"][(number / 7 % 3) as usize];
        let delay = if number % 97 == 0 { "NA".to_owned() } else { (number * 31 % 45).to_string() };
        let tail = if number % 53 == 0 { "NA".to_owned() } else { format!("N{}", 100 + number * 17 % 41) };
        csv.push_str(&format!(
            "2013-01-{day:02}T{hour:02}:00:00Z,{minute},{delay},{delay},{carrier},{number},{tail},{origin},IAH,1400\n"
        ));
    }
    std::fs::write(path, csv).unwrap();
}

fn run(arguments: &[&str]) -> (Output, serde_json::Value) {
    let directory = tempfile::tempdir().unwrap();
    let [input, json] = ["flights.csv", "out.json"].map(|name| directory.path().join(name));
    flights(&input);
    let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
    command.args(["run", "--memory", "16MiB", "--checkpoint-interval-ms", "5"]).args(arguments);
    command.arg("--input").arg(&input).arg("--json").arg(&json);
    let output = command.output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.ends_with("\nexact\n"),
        "{shown}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let json = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    (output, json)
}

#[test]
fn a_poisoned_event_is_taken_back_with_what_came_of_it() {
    let (_, json) = run(&["--poison", "1", "--events", "5000", "--seed", "7"]);
    let number = |key: &str| json[key].as_u64().unwrap();
    assert_eq!((number("events"), number("poisoned"), number("differences")), (5_000, 1, 0));
    assert!(number("dependents") >= 1 && number("dependents") < 100, "{json}");
    // The plane, the airline's hour, the board, and an alert or more.
    assert!(number("keys_changed") >= 4, "{json}");
    assert_eq!((number("groups_inverse"), number("groups_reexecuted")), (1, 2), "{json}");
    assert!(number("event_parts") > 14_000 && number("entries") > 5_000, "{json}");
}

#[test]
fn killed_while_it_repairs_it_repairs_as_a_whole() {
    for seed in ["1", "2"] {
        let (output, json) = run(&["--poison", "8", "--kills", "4", "--events", "3000", "--seed", seed]);
        let number = |key: &str| json[key].as_u64().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((number("poisoned"), number("kills"), number("differences")), (8, 4, 0), "{told}");
        assert_eq!(told.matches("into the repair; found it").count(), 4, "{told}");
        assert!(number("keys_changed") > 8, "{json} {told}");
    }
}

#[test]
fn what_goes_only_with_poison_is_refused_without_it() {
    for arguments in [&["--kills", "2"][..], &["--events", "1000"], &["--quick"], &["--poison", "1", "--crashes", "2"]]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_alluvium")).arg("run").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
