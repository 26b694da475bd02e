//! The four losses and their duals, one row at a time.
//!
//! Knows a row's output and its dual variable, no row and no solver. Invariant: the term that a row adds to the duality
//! gap is not negative, and zero exactly where its variable is optimal for its output.
//!
//! All four are one dual problem in signed variables β (w = Σ β·x): minimise ½|w|² + Σ(½·d·β² − t·β + ε|β|) within a
//! box. A class is the number t = ±1 with a box on one side of 0; a squared loss has d = 1/(2C) and no bound away from
//! 0, a linear one d = 0 and the bound C (Hsieh et al. 2008, section 2; Ho, Lin 2012, section 3).

use std::fmt;

/// What a row costs that is not fitted, by scikit-learn's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SvmLoss {
    /// max(0, 1 − y·f) of a class y = ±1.
    Hinge,
    /// Its square.
    SquaredHinge,
    /// max(0, |y − f| − ε) of a number y.
    EpsilonInsensitive,
    /// Its square.
    SquaredEpsilonInsensitive,
}

impl SvmLoss {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Hinge, Self::SquaredHinge, Self::EpsilonInsensitive, Self::SquaredEpsilonInsensitive];

    /// Its name in scikit-learn.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hinge => "hinge",
            Self::SquaredHinge => "squared_hinge",
            Self::EpsilonInsensitive => "epsilon_insensitive",
            Self::SquaredEpsilonInsensitive => "squared_epsilon_insensitive",
        }
    }

    /// Whether it is a loss of numbers, not of classes and labels.
    pub fn is_of_numbers(self) -> bool {
        matches!(self, Self::EpsilonInsensitive | Self::SquaredEpsilonInsensitive)
    }
}

impl fmt::Display for SvmLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A loss as the solver needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cost {
    pub squared: bool,
    /// Of numbers; none of classes.
    pub epsilon: Option<f64>,
}

/// A row's target with how much the row counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Goal {
    /// ±1, or the number.
    pub target: f64,
    /// C times the row's weight, above 0.
    pub c: f64,
}

/// Where a dual variable stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Standing {
    /// Size of the subgradient that its box allows it to follow; 0 at the optimum.
    pub violation: f64,
    /// How far the gradient presses it against the bound or the kink that it is at; negative where it is at none.
    pub pressed: f64,
}

impl Cost {
    /// The bounds of β.
    #[inline(always)]
    pub fn bounds(&self, goal: Goal) -> (f64, f64) {
        let most = if self.squared { f64::INFINITY } else { goal.c };
        match self.epsilon {
            Some(_) => (-most, most),
            None if goal.target > 0.0 => (0.0, most),
            None => (-most, 0.0),
        }
    }

    /// What the loss adds to the diagonal of the dual's Hessian.
    #[inline(always)]
    pub fn diagonal(&self, goal: Goal) -> f64 {
        if self.squared { 0.5 / goal.c } else { 0.0 }
    }

    /// The loss of a row with the output `f`, times its C.
    #[inline(always)]
    pub fn of_output(&self, goal: Goal, f: f64) -> f64 {
        let missing = match self.epsilon {
            Some(epsilon) => (goal.target - f).abs() - epsilon,
            None => 1.0 - goal.target * f,
        };
        let missing = missing.max(0.0);
        goal.c * if self.squared { missing * missing } else { missing }
    }

    /// What the row adds to primal − dual: loss + β·(f − t) + ε|β| + ½·d·β² (|w|² = Σ β·f makes the rest).
    #[inline(always)]
    pub fn gap(&self, goal: Goal, f: f64, beta: f64) -> f64 {
        let linear = beta * (f - goal.target) + self.epsilon.unwrap_or(0.0) * beta.abs();
        self.of_output(goal, f) + linear + 0.5 * self.diagonal(goal) * beta * beta
    }

    /// Where β stands, given the derivative `gradient` = f − t + d·β of all but the ε term.
    #[inline(always)]
    pub fn standing(&self, gradient: f64, beta: f64, (least, most): (f64, f64)) -> Standing {
        let epsilon = self.epsilon.unwrap_or(0.0);
        let (above, below) = (gradient + epsilon, gradient - epsilon);
        if beta >= most {
            let slope = if most > 0.0 { above } else { below };
            Standing { violation: slope.max(0.0), pressed: -slope }
        } else if beta <= least {
            let slope = if least < 0.0 { below } else { above };
            Standing { violation: (-slope).max(0.0), pressed: slope }
        } else if beta == 0.0 && epsilon > 0.0 {
            Standing { violation: (-above).max(below).max(0.0), pressed: above.min(-below) }
        } else {
            let slope = if beta > 0.0 || (beta == 0.0 && epsilon == 0.0) { above } else { below };
            Standing { violation: slope.abs(), pressed: f64::NEG_INFINITY }
        }
    }

    /// The best β with all others as they are; `curvature` = |x|² + d.
    #[inline(always)]
    pub fn best(&self, gradient: f64, beta: f64, curvature: f64, (least, most): (f64, f64)) -> f64 {
        let epsilon = self.epsilon.unwrap_or(0.0);
        if curvature == 0.0 {
            // A row of zeros: the dual is linear in it.
            return match gradient {
                slope if slope + epsilon < 0.0 => most,
                slope if slope - epsilon > 0.0 => least,
                _ => 0.0_f64.clamp(least, most),
            };
        }
        let free = beta - gradient / curvature;
        let shrunk = (free.abs() - epsilon / curvature).max(0.0).copysign(free);
        shrunk.clamp(least, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: [Cost; 6] = [
        Cost { squared: false, epsilon: None },
        Cost { squared: true, epsilon: None },
        Cost { squared: false, epsilon: Some(0.0) },
        Cost { squared: true, epsilon: Some(0.0) },
        Cost { squared: false, epsilon: Some(0.3) },
        Cost { squared: true, epsilon: Some(0.3) },
    ];

    /// One row of curvature `q` alone: the best β, found by the update, and its output.
    fn optimum(cost: Cost, goal: Goal, q: f64) -> (f64, f64) {
        let beta = cost.best(-goal.target, 0.0, q + cost.diagonal(goal), cost.bounds(goal));
        (beta, q * beta)
    }

    #[test]
    fn the_gap_is_never_negative_and_closes_at_the_best_variable() {
        for cost in COSTS {
            for target in [-1.0, 1.0, 0.2, -7.0] {
                if cost.epsilon.is_none() && f64::abs(target) != 1.0 {
                    continue;
                }
                for c in [0.01, 1.0, 100.0] {
                    let goal = Goal { target, c };
                    let (beta, f) = optimum(cost, goal, 2.0);
                    assert!(
                        cost.gap(goal, f, beta).abs() < 1e-10 * c,
                        "{cost:?} {goal:?}: {}",
                        cost.gap(goal, f, beta)
                    );
                    let (least, most) = cost.bounds(goal);
                    let gradient = f - target + cost.diagonal(goal) * beta;
                    assert!(cost.standing(gradient, beta, (least, most)).violation < 1e-9, "{cost:?} {goal:?}");
                    for step in [-1.0, -0.1, 0.1, 1.0] {
                        let beta = (beta + step * c).clamp(least, most);
                        assert!(cost.gap(goal, f, beta) >= -1e-12, "{cost:?} {goal:?} {beta}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_pressed_against_a_bound_stays_there() {
        let hinge = COSTS[0];
        let goal = Goal { target: -1.0, c: 1.0 };
        let bounds = hinge.bounds(goal);
        assert_eq!(bounds, (-1.0, 0.0));
        // Beyond its margin: f = -3, so the gradient f − t = -2 wants β above 0.
        assert_eq!(hinge.standing(-2.0, 0.0, bounds), Standing { violation: 0.0, pressed: 2.0 });
        // On the wrong side: the gradient 2 wants β below −C.
        assert_eq!(hinge.standing(2.0, -1.0, bounds), Standing { violation: 0.0, pressed: 2.0 });
        assert_eq!(hinge.standing(-2.0, -1.0, bounds).violation, 2.0);
        // Within the tube of ε the kink at 0 holds.
        assert_eq!(COSTS[4].standing(0.1, 0.0, (-1.0, 1.0)).violation, 0.0);
        assert!((COSTS[4].standing(-0.5, 0.0, (-1.0, 1.0)).violation - 0.2).abs() < 1e-15);
    }

    #[test]
    fn a_row_of_zeros_goes_to_its_bound() {
        let goal = Goal { target: 1.0, c: 2.0 };
        assert_eq!(COSTS[0].best(-1.0, 0.0, 0.0, COSTS[0].bounds(goal)), 2.0);
        let number = Goal { target: 0.2, c: 2.0 };
        assert_eq!(COSTS[4].best(-0.2, 0.0, 0.0, COSTS[4].bounds(number)), 0.0);
        assert_eq!(COSTS[2].best(-0.2, 0.0, 0.0, COSTS[2].bounds(number)), 2.0);
    }

    #[test]
    fn names_are_those_of_scikit_learn() {
        let names: Vec<String> = SvmLoss::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["hinge", "squared_hinge", "epsilon_insensitive", "squared_epsilon_insensitive"]);
        assert!(SvmLoss::SquaredEpsilonInsensitive.is_of_numbers() && !SvmLoss::SquaredHinge.is_of_numbers());
    }
}
