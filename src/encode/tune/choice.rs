//! Which of several settings wins: the rounds of a race and the verdict over what they measured. Knows no session; a
//! speed comes from a function, the time from a clock, so that both can be made up. Invariant: the default stays unless
//! another setting was faster by more than noise makes, first among all and then alone against the default: the first of
//! many is often the luckiest.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::Setting;

/// A setting takes the place of the default if it is faster by this share in the middle of its rounds ...
const CLEARLY: f64 = 1.03;
/// ... and faster at all in this share of them.
const MOST_ROUNDS: f64 = 0.75;
/// Rounds that a setting must have been in to win, and that are run whatever they cost.
pub(super) const LEAST_ROUNDS: usize = 3;
/// More rounds than this change nothing.
const LAST_ROUND: usize = 9;
/// Rounds of the winner against the default, which decide.
pub(super) const DUEL: usize = 5;
/// After a round, settings slower than this share of the fastest one are left out of the rest.
const HOPELESS: f64 = 0.85;

/// What was measured of one setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The setting.
    pub setting: Setting,
    /// Tokens of texts (padding not counted) per second in each round, from the first on; shorter where it was left out.
    pub speeds: Vec<f64>,
}

/// The outcome of a race.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Race {
    /// The setting that won; the default, if none won clearly.
    pub setting: Setting,
    /// How many times as fast as the default it was in the rounds against it alone (median); 1 for the default itself.
    pub times_as_fast: f64,
    /// What was run where nothing is tuned.
    pub default: Setting,
    /// All that was measured, the default first.
    pub measured: Vec<Measured>,
    /// Speeds of the default and of the winner of the race in the rounds between these two; none if the default won.
    pub duel: Vec<[f64; 2]>,
}

/// Lets settings, the default first, take turns until `limit` seconds have gone by (but three rounds at least),
/// then the winner and the default alone. `speed_of` gives the speed of a setting, or breaks the race off; `clock` gives
/// seconds since its start.
pub(super) fn race<E>(
    settings: &[Setting],
    (limit, clock): (f64, &mut dyn FnMut() -> f64),
    speed_of: &mut dyn FnMut(Setting) -> ControlFlow<E, f64>,
) -> ControlFlow<E, Race> {
    let mut measured: Vec<Measured> =
        settings.iter().map(|&setting| Measured { setting, speeds: Vec::new() }).collect();
    for round in 0..LAST_ROUND {
        if round >= LEAST_ROUNDS && clock() >= limit {
            break;
        }
        let fastest = measured.iter().filter_map(|one| median(&one.speeds)).fold(0.0, f64::max);
        let racing: Vec<usize> = (0..measured.len())
            .filter(|&place| {
                let speeds = &measured[place].speeds;
                place == 0 || speeds.len() == round && median(speeds).is_none_or(|speed| speed >= fastest * HOPELESS)
            })
            .collect();
        // Each round begins with another one: whoever runs first, or behind a certain other, has no part in the verdict.
        for turn in 0..racing.len() {
            let one = &mut measured[racing[(turn + round) % racing.len()]];
            one.speeds.push(speed_of(one.setting)?);
        }
    }
    let default = measured[0].setting;
    let Some(winner) = fastest(&measured) else {
        let (setting, times_as_fast, duel) = (default, 1.0, Vec::new());
        return ControlFlow::Continue(Race { setting, times_as_fast, default, measured, duel });
    };
    let mut duel = Vec::new();
    for round in 0..DUEL {
        let mut speeds = [0.0; 2];
        for turn in [round % 2, (round + 1) % 2] {
            speeds[turn] = speed_of([default, winner][turn])?;
        }
        duel.push(speeds);
    }
    let ratios: Vec<f64> = duel.iter().map(|[default, winner]| winner / default).collect();
    let (setting, times_as_fast) = clearly_faster(&ratios).map_or((default, 1.0), |times| (winner, times));
    ControlFlow::Continue(Race { setting, times_as_fast, default, measured, duel })
}

/// The setting that was clearly faster than the default, which comes first, and most of all of those; if any was.
fn fastest(measured: &[Measured]) -> Option<Setting> {
    let (default, others) = measured.split_first()?;
    let times = |one: &Measured| {
        // Speeds of one round stand side by side in time: what slows the machine down slows both.
        let ratios: Vec<f64> = one.speeds.iter().zip(&default.speeds).map(|(speed, default)| speed / default).collect();
        Some((clearly_faster(&ratios)?, one.setting))
    };
    others.iter().filter_map(times).max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, setting)| setting)
}

/// How many times as fast as the default a setting was, given this ratio in each round; `None` if it was not clearly faster.
fn clearly_faster(ratios: &[f64]) -> Option<f64> {
    let faster = ratios.iter().filter(|&&ratio| ratio > 1.0).count() as f64;
    let often = ratios.len() >= LEAST_ROUNDS && faster >= MOST_ROUNDS * ratios.len() as f64;
    median(ratios).filter(|&times| often && times >= CLEARLY)
}

/// The middle value, or the mean of the two in the middle; none of nothing.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(if sorted.len() % 2 == 1 { upper } else { (sorted[sorted.len() / 2 - 1] + upper) / 2.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: [Setting; 3] = [
        Setting { sessions: 1, batch_tokens: 1_024 },
        Setting { sessions: 1, batch_tokens: 512 },
        Setting { sessions: 2, batch_tokens: 512 },
    ];

    /// Races the settings with these speeds by round, a second a turn.
    fn raced(speeds: impl Fn(Setting, usize) -> f64, limit: f64) -> Race {
        let seconds = std::cell::Cell::new(0.0);
        let mut turns = std::collections::HashMap::new();
        let mut speed_of = |setting: Setting| -> ControlFlow<(), f64> {
            seconds.set(seconds.get() + 1.0);
            let round = turns.entry(setting).or_insert(0);
            *round += 1;
            ControlFlow::Continue(speeds(setting, *round - 1))
        };
        match race(&SETTINGS, (limit, &mut || seconds.get()), &mut speed_of) {
            ControlFlow::Continue(tuned) => tuned,
            ControlFlow::Break(()) => unreachable!("nothing breaks it off"),
        }
    }

    #[test]
    fn the_fastest_of_those_that_are_clearly_faster_wins() {
        let tuned =
            raced(|setting, _| 100.0 + 4.0 * setting.sessions as f64 - setting.batch_tokens as f64 / 256.0, 30.0);
        assert_eq!((tuned.setting, tuned.default), (SETTINGS[2], SETTINGS[0]));
        assert!((tuned.times_as_fast - 1.06).abs() < 1e-9, "{tuned:?}");
        assert_eq!((tuned.measured.len(), tuned.duel.len()), (3, DUEL));
    }

    #[test]
    fn the_default_stays_where_the_difference_is_small_or_not_steady() {
        let small = raced(|setting, _| if setting == SETTINGS[0] { 100.0 } else { 102.9 }, 30.0);
        assert_eq!((small.setting, small.times_as_fast), (SETTINGS[0], 1.0));
        // Faster by a third in half of the rounds and slower in the others.
        let unsteady = raced(
            |setting, round| match (setting == SETTINGS[0], round % 2) {
                (true, _) => 100.0,
                (false, 0) => 133.0,
                (false, _) => 99.0,
            },
            1e9,
        );
        assert_eq!(unsteady.setting, SETTINGS[0], "{unsteady:?}");
        assert!(unsteady.duel.is_empty());
        // Lucky in the race, and no faster alone against the default.
        let lucky = raced(|setting, round| if setting == SETTINGS[1] && round < 3 { 120.0 } else { 100.0 }, 0.0);
        assert_eq!((lucky.setting, lucky.times_as_fast, lucky.duel.len()), (SETTINGS[0], 1.0, DUEL), "{lucky:?}");
        assert_eq!(lucky.duel[0], [100.0, 100.0]);
        // A machine that gets slower all the while is no reason.
        let slower = raced(|_, round| 100.0 / (1.0 + round as f64), 30.0);
        assert_eq!(slower.setting, SETTINGS[0]);
    }

    #[test]
    fn what_is_hopeless_is_left_out_and_the_default_never() {
        let tuned = raced(|setting, _| if setting == SETTINGS[1] { 100.0 } else { 50.0 }, 1e9);
        let rounds: Vec<usize> = tuned.measured.iter().map(|one| one.speeds.len()).collect();
        assert_eq!(rounds, [LAST_ROUND, LAST_ROUND, 1]);
        assert_eq!(tuned.setting, SETTINGS[1]);
    }

    #[test]
    fn three_rounds_are_run_whatever_they_cost_and_more_if_there_is_time() {
        let rounds = |limit| raced(|_, _| 1.0, limit).measured[0].speeds.len();
        assert_eq!((rounds(0.0), rounds(9.0), rounds(12.5), rounds(1e9)), (3, 3, 5, LAST_ROUND));
    }

    #[test]
    fn a_race_may_be_broken_off() {
        let broken = race(&SETTINGS, (1.0, &mut || 0.0), &mut |_| ControlFlow::Break("stopped"));
        assert_eq!(broken, ControlFlow::Break("stopped"));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!((median(&[]), median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0])), (None, Some(2.0), Some(2.5)));
    }
}
