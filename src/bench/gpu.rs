//! Memory and power of a graphics card while something runs, as NVIDIA's own tool reports them. Where that tool is not
//! there, nothing is known. Invariant: a figure is one that the tool printed, or a mean of such; never 0 for unknown.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

/// The tool.
const TOOL: &str = "nvidia-smi";
/// Milliseconds between two looks.
const EVERY: &str = "100";

/// What a card was seen to use.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GpuUse {
    /// Most memory in use on the whole card, in bytes; absent where the tool does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Mean power in watts; absent where the tool does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watts: Option<f64>,
}

/// The number of the card that a provider of that name computes on; none where that is no card of NVIDIA's.
pub(super) fn card_of(provider: &str) -> Option<u32> {
    let (name, card) = provider.split_once(':').unwrap_or((provider, "0"));
    ["cuda", "tensorrt"].contains(&name).then(|| card.parse().ok()).flatten()
}

/// Watches a card until it is asked what it saw.
pub(super) struct GpuMeter {
    child: Child,
    seen: Option<JoinHandle<Vec<String>>>,
}

impl GpuMeter {
    /// Begins to watch the card of that number; none where the tool cannot be started.
    pub(super) fn start(device: u32) -> Option<Self> {
        Self::start_tool(TOOL, device)
    }

    fn start_tool(tool: &str, device: u32) -> Option<Self> {
        let mut command = Command::new(tool);
        command.args(["--query-gpu=memory.used,power.draw", "--format=csv,noheader,nounits", "-lms", EVERY, "-i"]);
        command.arg(device.to_string()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        let stdout = child.stdout.take();
        let read = move || {
            let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
            lines.map_while(Result::ok).collect()
        };
        Some(Self { child, seen: Some(std::thread::spawn(read)) })
    }

    /// What was seen so far; none if that is nothing.
    pub(super) fn finish(mut self) -> Option<GpuUse> {
        // One that has ended already needs no end.
        drop(self.child.kill());
        drop(self.child.wait());
        let lines = self.seen.take()?.join().ok()?;
        summary(&lines)
    }
}

/// Lines such as `1523, 212.40`: MiB and watts; `[N/A]` where the card does not say.
fn summary(lines: &[String]) -> Option<GpuUse> {
    let looks: Vec<(Option<f64>, Option<f64>)> = lines
        .iter()
        .filter_map(|line| line.split_once(','))
        .map(|(memory, watts)| (number(memory), number(watts)))
        .collect();
    let memory = looks.iter().filter_map(|(memory, _)| *memory).reduce(f64::max);
    let watts: Vec<f64> = looks.iter().filter_map(|(_, watts)| *watts).collect();
    let watts = (!watts.is_empty()).then(|| watts.iter().sum::<f64>() / watts.len() as f64);
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
        let seen = summary(&lines(&["1500, 200.00", "1523, 212.40", "1510, 218.20"])).unwrap();
        assert_eq!(seen.memory, Some(1_523 << 20));
        assert!((seen.watts.unwrap() - 210.2).abs() < 1e-9);
        let partly = summary(&lines(&["80, [N/A]", "nonsense", "90, nan"])).unwrap();
        assert_eq!((partly.memory, partly.watts), (Some(90 << 20), None));
        let unknown = lines(&["[N/A], [N/A]", "No devices were found"]);
        assert_eq!((summary(&unknown), summary(&[])), (None, None));
    }

    #[test]
    fn a_card_is_told_by_the_name_of_its_provider() {
        let cards = ["cuda", "cuda:2", "tensorrt:1", "cpu", "openvino", "cuda:x"].map(card_of);
        assert_eq!(cards, [Some(0), Some(2), Some(1), None, None, None]);
    }

    #[test]
    fn without_the_tool_nothing_is_known() {
        assert!(GpuMeter::start_tool("no such tool anywhere", 0).is_none());
    }

    #[test]
    #[cfg(unix)]
    fn a_tool_that_prints_is_read_until_it_is_asked() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let tool = folder.path().join("tool");
        std::fs::write(&tool, "#!/bin/sh\n[ \"$6\" = 3 ] || exit 1\nwhile :; do echo \"64, 70.5\"; sleep 0.01; done\n")
            .unwrap();
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        let meter = GpuMeter::start_tool(tool.to_str().unwrap(), 3).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        let seen = meter.finish().unwrap();
        assert_eq!(seen, GpuUse { memory: Some(64 << 20), watts: Some(70.5) });
    }
}
