//! Which groups of matrices an int8 graph computes in integers: the order in which they are turned, the points on that
//! way, and which of them meets what is asked. Knows no graph: a [`Judge`] says what a choice costs and saves.
//!
//! Invariant: a point is the first so many groups of one order, so that a point with more of them is never slower by
//! what it computes, and the choice depends on nothing but the judge's answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model;

/// What the sample may lose beside what is promised of all texts: the worst of a few hundred is better than the worst of
/// thousands.
const RESERVE: f64 = 1.25;

/// How many times as fast a point has to be as another before the difference is more than noise.
const FASTER: f64 = 1.03;

/// Points of a curve, at the least, where there are as many groups.
const LEAST_POINTS: usize = 3;

/// Cosines between texts' vectors and those of the original.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cosines {
    /// The least.
    pub min: f64,
    /// Their mean.
    pub mean: f64,
}

/// Says what a choice of groups costs and saves.
pub trait Judge {
    /// Why it could not say.
    type Error;

    /// Cosines on some texts where this group alone is int8.
    fn alone(&mut self, group: usize) -> Result<Cosines, Self::Error>;

    /// Cosines on all texts where these groups are int8.
    fn together(&mut self, groups: &[usize]) -> Result<Cosines, Self::Error>;

    /// How many times as many papers a second as the original, where these groups are int8.
    fn speed(&mut self, groups: &[usize]) -> Result<f64, Self::Error>;
}

/// A point that can be asked for by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PointName {
    /// Half the loss of the default.
    Careful,
    /// The fastest with a least cosine of 0.998 and a mean of 0.999, or with the least cosine that was asked for.
    Default,
    /// Twice the loss of the default.
    Fast,
    /// Every matrix, whatever it costs.
    All,
}

impl PointName {
    /// All of them, from the most careful on.
    pub const ALL: [Self; 4] = [Self::Careful, Self::Default, Self::Fast, Self::All];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Careful => "careful",
            Self::Default => "default",
            Self::Fast => "fast",
            Self::All => "all",
        }
    }

    /// What a point of this name has to reach; `least` is what was asked of the default. The mean may lose half of what
    /// the worst text may.
    pub fn target(self, least: f64) -> Cosines {
        let loss = match self {
            Self::Careful => (1.0 - least) / 2.0,
            Self::Default => 1.0 - least,
            Self::Fast => (1.0 - least) * 2.0,
            Self::All => 2.0,
        };
        Cosines { min: 1.0 - loss, mean: 1.0 - loss / 2.0 }
    }
}

impl std::str::FromStr for PointName {
    type Err = model::Error;

    fn from_str(word: &str) -> Result<Self, model::Error> {
        let unknown = || {
            let known = Self::ALL.map(Self::name).join(", ");
            model::Error::UnknownChoice { what: "int8 point", word: word.to_owned(), known }
        };
        Self::ALL.into_iter().find(|point| point.name() == word).ok_or_else(unknown)
    }
}

/// What is asked of a choice.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The point that the bundle is to be.
    pub point: PointName,
    /// The least cosine of the default.
    pub least: f64,
}

/// A group in its place in the order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OrderedGroup {
    /// Which one.
    pub group: usize,
    /// What it costs where it alone is int8.
    pub alone: Cosines,
}

/// A measured point.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The names that it can be asked for by.
    pub names: Vec<PointName>,
    /// How many groups of the order are int8.
    pub groups: usize,
    /// What it costs.
    pub cosines: Cosines,
    /// What it saves.
    pub speed: f64,
}

/// An order of groups and the points on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The groups, those with the least loss for the work that they save first.
    pub order: Vec<OrderedGroup>,
    /// The points, from few groups to many; no two are the same.
    pub curve: Vec<Point>,
    /// The point that is wanted; none where nothing reaches what it has to.
    pub chosen: Option<usize>,
}

/// Measures every group alone, puts them in order, and finds the points. `works` holds for each group the
/// multiplications that it does for a text, in any unit.
///
/// # Errors
/// Whatever the judge fails with.
pub fn choose<J: Judge>(works: &[f64], wanted: Wanted, judge: &mut J) -> Result<Choice, J::Error> {
    let mut order = Vec::with_capacity(works.len());
    for group in 0..works.len() {
        order.push(OrderedGroup { group, alone: judge.alone(group)? });
    }
    let price = |of: &OrderedGroup| loss(of.alone) / works[of.group].max(f64::MIN_POSITIVE);
    order.sort_by(|a, b| price(a).total_cmp(&price(b)).then(a.group.cmp(&b.group)));
    let groups: Vec<usize> = order.iter().map(|of| of.group).collect();
    let mut search = Search { groups, known: BTreeMap::new(), judge };
    let mut ends: BTreeMap<usize, Vec<PointName>> = BTreeMap::new();
    // From the fastest on: none that is to lose less can be beyond one that loses more.
    let mut most = order.len();
    for name in PointName::ALL.into_iter().rev() {
        most = search.furthest(most, name.target(wanted.least))?;
        if most > 0 {
            ends.entry(most).or_default().insert(0, name);
        }
    }
    for count in fillers(works, &order, &ends) {
        ends.entry(count).or_default();
    }
    let mut curve = Vec::new();
    for (groups, names) in ends {
        let cosines = search.cosines(groups)?;
        let speed = search.judge.speed(&search.groups[..groups])?;
        curve.push(Point { names, groups, cosines, speed });
    }
    prefer_faster(&mut curve, wanted.least);
    let chosen = curve.iter().position(|point| point.names.contains(&wanted.point));
    Ok(Choice { order, curve, chosen })
}

/// What a group takes of that which may be lost: by its worst text or by the mean, whichever is reached first.
fn loss(cosines: Cosines) -> f64 {
    ((1.0 - cosines.min) * RESERVE).max((1.0 - cosines.mean) * 2.0)
}

/// Whether cosines of a sample are good enough to promise `target` of all texts.
fn reaches(cosines: Cosines, target: Cosines) -> bool {
    (1.0 - cosines.min) * RESERVE <= 1.0 - target.min && cosines.mean >= target.mean
}

struct Search<'j, J> {
    groups: Vec<usize>,
    known: BTreeMap<usize, Cosines>,
    judge: &'j mut J,
}

impl<J: Judge> Search<'_, J> {
    /// Cosines of the first `count` groups.
    fn cosines(&mut self, count: usize) -> Result<Cosines, J::Error> {
        if let Some(&known) = self.known.get(&count) {
            return Ok(known);
        }
        let cosines = self.judge.together(&self.groups[..count])?;
        self.known.insert(count, cosines);
        Ok(cosines)
    }

    /// The most groups, up to `most`, that reach the target, found by halving: more groups lose more, but for noise.
    /// 0 where not even the first one does.
    fn furthest(&mut self, most: usize, target: Cosines) -> Result<usize, J::Error> {
        if most == 0 || target.min <= -1.0 || reaches(self.cosines(most)?, target) {
            return Ok(most);
        }
        let (mut reached, mut beyond) = (0, most);
        while beyond - reached > 1 {
            let middle = usize::midpoint(reached, beyond);
            if reaches(self.cosines(middle)?, target) {
                reached = middle;
            } else {
                beyond = middle;
            }
        }
        Ok(reached)
    }
}

/// Counts of groups between the points that have names, so that there are [`LEAST_POINTS`]: at even shares of the work.
fn fillers(works: &[f64], order: &[OrderedGroup], ends: &BTreeMap<usize, Vec<PointName>>) -> Vec<usize> {
    let all: f64 = works.iter().sum();
    let mut found: Vec<usize> = Vec::new();
    let taken = |count: usize, found: &[usize]| count == 0 || ends.contains_key(&count) || found.contains(&count);
    for share in [0.5, 0.25, 0.75] {
        let mut done = 0.0;
        let upto = order.iter().take_while(|of| {
            done += works[of.group];
            done <= all * share
        });
        let wanted = upto.count();
        // The nearest count that is not there yet.
        let free = (1..=order.len()).filter(|&count| !taken(count, &found));
        let nearest = free.min_by_key(|count| count.abs_diff(wanted));
        if ends.len() + found.len() < LEAST_POINTS {
            found.extend(nearest);
        }
    }
    found
}

/// Gives a name to a point with fewer groups where it was measured to be faster: it reaches more than is asked, too.
fn prefer_faster(curve: &mut [Point], least: f64) {
    for name in [PointName::Careful, PointName::Default, PointName::Fast] {
        let Some(holder) = curve.iter().position(|point| point.names.contains(&name)) else { continue };
        let reaching = (0..=holder).filter(|&at| reaches(curve[at].cosines, name.target(least)));
        let Some(best) = reaching.max_by(|&a, &b| curve[a].speed.total_cmp(&curve[b].speed)) else { continue };
        if curve[best].speed > curve[holder].speed * FASTER {
            curve[holder].names.retain(|other| *other != name);
            curve[best].names.push(name);
            curve[best].names.sort_unstable();
        }
    }
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
