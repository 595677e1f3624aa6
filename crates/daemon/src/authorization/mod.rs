//! Plugins that are asked whether a request may be done, and whether its answer may be given: Docker's protocol of
//! authorization plugins, version 1.
//!
//! ```text
//!  client            daemon                          plugin (unix socket)
//!    | request         |  POST /AuthZPlugin.AuthZReq   |
//!    |---------------->|------------------------------>|  {User, RequestMethod, RequestUri, RequestBody, …}
//!    |                 |<------------------------------|  {Allow, Msg, Err}
//!    |                 |  the handler works            |
//!    |                 |  POST /AuthZPlugin.AuthZRes   |
//!    |                 |------------------------------>|  the same, and {ResponseStatusCode, ResponseBody, …}
//!    |<----------------|<------------------------------|  {Allow, Msg, Err}
//! ```
//!
//! A plugin that does not answer, or says what cannot be understood, denies.

mod call;
mod plugin;

use std::sync::{Arc, PoisonError, RwLock};

use http::StatusCode;

use plugin::Plugin;

use crate::server::failure::Failure;
use crate::server::gate::{Answered, Asked, Gate, Verdict};

/// The plugins that are asked now.
#[derive(Debug, Default)]
pub(crate) struct Authorization {
    plugins: RwLock<Arc<Vec<Arc<Plugin>>>>,
}

impl Authorization {
    /// From now on the plugins of these names are asked.
    pub(crate) fn set(&self, names: &[String]) {
        let plugins = names.iter().map(|name| Arc::new(Plugin::new(name))).collect();
        *self.plugins.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plugins);
    }

    fn plugins(&self) -> Arc<Vec<Arc<Plugin>>> {
        Arc::clone(&self.plugins.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a plugin that did not allow something means for the client.
fn refused(plugin: &Plugin, answer: Result<call::Answer, String>) -> Result<(), Failure> {
    let failed = |why: &str| Failure::internal(format!("plugin {} failed with error: {why}", plugin.name()));
    match answer {
        Err(why) => Err(failed(&why)),
        Ok(answer) if !answer.err.is_empty() => Err(failed(&answer.err)),
        Ok(answer) if !answer.allow => Err(Failure::new(
            StatusCode::FORBIDDEN,
            format!("authorization denied by plugin {}: {}", plugin.name(), answer.msg),
        )),
        Ok(_) => Ok(()),
    }
}

impl Gate for Authorization {
    fn is_open(&self) -> bool {
        self.plugins().is_empty()
    }

    fn ask(&self, asked: Arc<Asked>) -> Verdict {
        let plugins = self.plugins();
        Box::pin(async move {
            for plugin in plugins.iter() {
                refused(plugin, plugin.ask(call::request(&asked)).await)?;
            }
            Ok(())
        })
    }

    fn review(&self, asked: Arc<Asked>, answered: Answered) -> Verdict {
        let plugins = self.plugins();
        Box::pin(async move {
            for plugin in plugins.iter().rev() {
                refused(plugin, plugin.review(call::response(&asked, &answered)).await)?;
            }
            Ok(())
        })
    }
}
