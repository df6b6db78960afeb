//! What is said about deploys.
//!
//! Does not know: sockets.

use serde::{Deserialize, Serialize};

use crate::control::deploys::{Action, Phase};
use crate::names::{Arm, PerArm};
use crate::records::state::Deployed;

/// `POST /v1/deploys`: a step of what is done to the servers of an arm. The first one is refused
/// while the arm is in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployStep {
    /// Which arm.
    pub arm: Arm,
    /// What is done to it.
    pub action: Action,
    /// How far it is.
    pub phase: Phase,
    /// The version that comes.
    #[serde(default)]
    pub version: Option<String>,
    /// The version that goes.
    #[serde(default)]
    pub previous: Option<String>,
    /// The reason at the beginning, the failure at the end.
    #[serde(default)]
    pub detail: Option<String>,
    /// Go on although the arm is in use.
    #[serde(default)]
    pub force: bool,
}

/// `GET /v1/deploys`, and the answer to a step: what is on the arms, and whether they may be touched.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deploys {
    /// What was last deployed through the router.
    pub deployed: PerArm<Option<Deployed>>,
    /// Why the servers of an arm must not be touched now, and what to do about it.
    pub in_use: PerArm<Vec<String>>,
}
