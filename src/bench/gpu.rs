//! Memory and power of graphics cards while something runs, as NVIDIA's own tool reports them. Where that tool is not
//! there, nothing is known. Invariant: a figure is one that the tool printed, or a mean of such; never 0 for unknown.
//! Several cards are counted together, and only where each of them was told of.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use crate::runtime::Provider;

/// The tool.
const TOOL: &str = "nvidia-smi";
/// Milliseconds between two looks.
const EVERY: &str = "100";

/// What the cards were seen to use together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GpuUse {
    /// Most memory in use on whole cards, in bytes; absent where the tool does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Mean power in watts; absent where the tool does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watts: Option<f64>,
}

/// The numbers of the cards that a provider of that name computes on; none where these are no cards of NVIDIA's.
pub(super) fn cards_of(provider: &str) -> Vec<u32> {
    match provider.parse::<Provider>() {
        Ok(provider) if provider.choice.has_devices() => {
            (0..provider.least_sessions()).map(|place| provider.of_session(place).first_device()).collect()
        }
        _ => Vec::new(),
    }
}

/// Watches cards until it is asked what it saw.
pub(super) struct GpuMeter {
    child: Child,
    cards: usize,
    seen: Option<JoinHandle<Vec<String>>>,
}

impl GpuMeter {
    /// Begins to watch the cards of these numbers; none without cards, or where the tool cannot be started.
    pub(super) fn start(cards: &[u32]) -> Option<Self> {
        (!cards.is_empty()).then(|| Self::start_tool(TOOL, cards)).flatten()
    }

    fn start_tool(tool: &str, cards: &[u32]) -> Option<Self> {
        let numbers: Vec<String> = cards.iter().map(u32::to_string).collect();
        let mut command = Command::new(tool);
        command.args([
            "--query-gpu=index,memory.used,power.draw",
            "--format=csv,noheader,nounits",
            "-lms",
            EVERY,
            "-i",
        ]);
        command.arg(numbers.join(",")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        let stdout = child.stdout.take();
        let read = move || {
            let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
            lines.map_while(Result::ok).collect()
        };
        Some(Self { child, cards: cards.len(), seen: Some(std::thread::spawn(read)) })
    }

    /// What was seen so far; none if that is nothing.
    pub(super) fn finish(mut self) -> Option<GpuUse> {
        // One that has ended already needs no end.
        drop(self.child.kill());
        drop(self.child.wait());
        let lines = self.seen.take()?.join().ok()?;
        summary(&lines, self.cards)
    }
}

/// What one card said, look by look: MiB and watts.
#[derive(Default)]
struct Looks {
    memory: Vec<f64>,
    watts: Vec<f64>,
}

/// Lines such as `0, 1523, 212.40`: the number of the card, MiB and watts; `[N/A]` where the card does not say.
fn summary(lines: &[String], cards: usize) -> Option<GpuUse> {
    let mut by_card: BTreeMap<&str, Looks> = BTreeMap::new();
    for line in lines {
        let mut fields = line.split(',').map(str::trim);
        let (Some(card), Some(memory), Some(watts)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let looks = by_card.entry(card).or_default();
        looks.memory.extend(number(memory));
        looks.watts.extend(number(watts));
    }
    let all = |of_card: &dyn Fn(&Looks) -> Option<f64>| -> Option<f64> {
        let known: Vec<f64> = by_card.values().filter_map(of_card).collect();
        (known.len() == cards).then(|| known.iter().sum())
    };
    let memory = all(&|looks| looks.memory.iter().copied().reduce(f64::max));
    let mean =
        |looks: &Looks| (!looks.watts.is_empty()).then(|| looks.watts.iter().sum::<f64>() / looks.watts.len() as f64);
    let watts = all(&mean);
    let memory = memory.map(|mebibytes| (mebibytes * f64::from(1 << 20)) as u64);
    (memory.is_some() || watts.is_some()).then_some(GpuUse { memory, watts })
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn what_the_tool_prints_becomes_a_maximum_and_a_mean() {
        let seen = summary(&lines(&["0, 1500, 200.00", "0, 1523, 212.40", "0, 1510, 218.20"]), 1).unwrap();
        assert_eq!(seen.memory, Some(1_523 << 20));
        assert!((seen.watts.unwrap() - 210.2).abs() < 1e-9);
        let partly = summary(&lines(&["0, 80, [N/A]", "nonsense", "0, 90, nan"]), 1).unwrap();
        assert_eq!((partly.memory, partly.watts), (Some(90 << 20), None));
        let unknown = lines(&["0, [N/A], [N/A]", "No devices were found"]);
        assert_eq!((summary(&unknown, 1), summary(&[], 1)), (None, None));
        let two = lines(&["0, 100, 50", "1, 10, [N/A]", "0, 90, 70", "1, 20, [N/A]"]);
        assert_eq!(summary(&two, 2), Some(GpuUse { memory: Some(120 << 20), watts: None }), "of both or of none");
        assert_eq!(summary(&two[..1], 2), None);
    }

    #[test]
    fn cards_are_told_by_the_name_of_their_provider() {
        let cards = ["cuda", "cuda:2", "tensorrt:1,0", "cpu", "openvino", "cuda:x"].map(cards_of);
        assert_eq!(cards, [vec![0], vec![2], vec![1, 0], vec![], vec![], vec![]]);
        assert!(GpuMeter::start(&[]).is_none());
    }

    #[test]
    fn without_the_tool_nothing_is_known() {
        assert!(GpuMeter::start_tool("no such tool anywhere", &[0]).is_none());
    }

    #[test]
    #[cfg(unix)]
    fn a_tool_that_prints_is_read_until_it_is_asked() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let tool = folder.path().join("tool");
        std::fs::write(
            &tool,
            "#!/bin/sh\n[ \"$6\" = 3 ] || exit 1\nwhile :; do echo \"3, 64, 70.5\"; sleep 0.01; done\n",
        )
        .unwrap();
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        let meter = GpuMeter::start_tool(tool.to_str().unwrap(), &[3]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        let seen = meter.finish().unwrap();
        assert_eq!(seen, GpuUse { memory: Some(64 << 20), watts: Some(70.5) });
    }
}
