//! Describes how a remote handles a request.

use std::time::Duration;

use axum::http::StatusCode;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

/// A remote's behaviour: `{"mode": "slow", "delay_ms": 3000}`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Behaviour {
    /// Answers, after a delay (none).
    Ok {
        #[serde(default)]
        delay_ms: u64,
    },
    /// Answers late: after a delay (30 s).
    Slow {
        #[serde(default = "late")]
        delay_ms: u64,
    },
    /// Answers with status 503, after a delay (none).
    Fail {
        #[serde(default)]
        delay_ms: u64,
    },
    /// Never answers.
    Hang {},
    /// Draws one of the above for each request: mostly an answer within 1.5 s.
    Drawn { seed: u64 },
}

fn late() -> u64 {
    30_000
}

impl Default for Behaviour {
    fn default() -> Self {
        Self::Ok { delay_ms: 0 }
    }
}

impl Behaviour {
    /// Lets request number `request` wait as long as it must. An error is the status to answer with.
    pub(crate) async fn take(self, remote: usize, request: u64) -> Result<(), StatusCode> {
        let (delay_ms, result) = match self.drawn(remote, request) {
            Self::Ok { delay_ms } | Self::Slow { delay_ms } => (delay_ms, Ok(())),
            Self::Fail { delay_ms } => (delay_ms, Err(StatusCode::SERVICE_UNAVAILABLE)),
            Self::Hang {} | Self::Drawn { .. } => std::future::pending().await,
        };
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        result
    }

    /// Returns the behaviour for this request: the same for the same seed, remote and request.
    fn drawn(self, remote: usize, request: u64) -> Self {
        let Self::Drawn { seed } = self else { return self };
        let mut random = StdRng::seed_from_u64(seed ^ ((remote as u64) << 48) ^ request);
        match random.random_range(0..100) {
            0..75 => Self::Ok { delay_ms: random.random_range(50..1_500) },
            75..87 => Self::Slow { delay_ms: random.random_range(3_000..30_000) },
            87..94 => Self::Fail { delay_ms: random.random_range(0..500) },
            _ => Self::Hang {},
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_behaviour_is_read_from_json() {
        let read = |json| serde_json::from_str::<Behaviour>(json).expect("it is a behaviour");

        assert_eq!(read(r#"{"mode":"ok"}"#), Behaviour::Ok { delay_ms: 0 });
        assert_eq!(read(r#"{"mode":"hang"}"#), Behaviour::Hang {});
        assert_eq!(read(r#"{"mode":"slow","delay_ms":9}"#), Behaviour::Slow { delay_ms: 9 });
        assert!(serde_json::from_str::<Behaviour>(r#"{"mode":"slow","delay":9}"#).is_err());
    }

    #[test]
    fn a_seed_draws_the_same_again_and_all_kinds_in_the_long_run() {
        let draw = |request| Behaviour::Drawn { seed: 1 }.drawn(3, request);

        let drawn: Vec<_> = (0..200).map(draw).collect();

        assert_eq!(drawn, (0..200).map(draw).collect::<Vec<_>>());
        assert!(drawn.iter().any(|b| matches!(b, Behaviour::Ok { .. })));
        assert!(drawn.iter().any(|b| matches!(b, Behaviour::Slow { .. })));
        assert!(drawn.iter().any(|b| matches!(b, Behaviour::Fail { .. })));
        assert!(drawn.contains(&Behaviour::Hang {}));
    }
}
