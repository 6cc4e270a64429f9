//! How far a run is: a bar on a terminal, else a line now and then.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use super::record::Record;
use crate::format::{bytes, thousands};

/// Where progress is shown: on standard error, so that standard output has results alone.
pub struct Display {
    bar: Option<ProgressBar>,
    /// The tenth of the way that was reported last, where there is no terminal.
    tenth: u64,
}

impl Display {
    /// A display for a run of so many events.
    pub fn new(events: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { bar: None, tenth: 0 };
        }
        let bar = ProgressBar::new(events);
        let template = "{bar:40.cyan/dim} {percent:>3} %  {human_pos} events  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━━╌"));
        }
        Self { bar: Some(bar), tenth: 0 }
    }

    /// The worker said something.
    pub fn progress(&mut self, record: &Record, at_ms: u64) {
        let event = record.event();
        let state = || {
            let memory = record.samples.last().map_or(0, |sample| sample.rss_anon_bytes);
            let crashes = format!("crash {} of {}", record.crashes.len(), record.settings.crashes);
            let done = record.completed().count();
            format!("memory {}  checkpoint {done}  {crashes}", bytes(memory))
        };
        if let Some(bar) = &self.bar {
            bar.set_position(event);
            bar.set_message(state());
            return;
        }
        let tenth = event * 10 / record.settings.events.max(1);
        if tenth > self.tenth {
            self.tenth = tenth;
            eprintln!("{:>3} %  {} events  {:.1} s  {}", tenth * 10, thousands(event), at_ms as f64 / 1e3, state());
        }
    }

    /// The worker was killed.
    pub fn crashed(&mut self, record: &Record) {
        let Some(crash) = record.crashes.last() else { return };
        let number = record.crashes.len();
        self.line(&format!("crash {number}: SIGKILL at about event {}", thousands(crash.event)));
    }

    /// Another part of the work begins.
    pub fn phase(&mut self, name: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(name.to_owned()),
            None => eprintln!("{name}"),
        }
    }

    /// A line that stays.
    pub fn line(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// The run is over.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
