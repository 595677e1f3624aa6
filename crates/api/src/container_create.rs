//! `POST /containers/create`, `/update` and `/commit`.

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::endpoint::NetworkingConfig;
use crate::host_config::{HostConfig, Resources, RestartPolicy};
use crate::json::embeds;

/// The body of create: the fields of [`Config`] with two more beside them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default, rename_all = "PascalCase")]
pub struct CreateRequest {
    /// What to run.
    #[serde(flatten, skip_deserializing)]
    pub config: Config,
    /// How to run it here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_config: Option<HostConfig>,
    /// Networks to join.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networking_config: Option<NetworkingConfig>,
}

embeds!(CreateRequest { config });

/// The answer of create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Created {
    /// The container's ID, 64 hexadecimal digits.
    pub id: String,
    /// Never `null`.
    pub warnings: Vec<String>,
}

/// The body of `POST /containers/{id}/update`: the fields of [`Resources`] and the restart policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default, rename_all = "PascalCase")]
pub struct UpdateRequest {
    /// Limits; zero and `null` leave as it is.
    #[serde(flatten, skip_deserializing)]
    pub resources: Resources,
    /// An empty name leaves as it is.
    pub restart_policy: RestartPolicy,
}

embeds!(UpdateRequest { resources });

/// The answer of update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Updated {
    /// `null` when there are none.
    pub warnings: Option<Vec<String>>,
}
