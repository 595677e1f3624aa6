//! The answer of a prune: its report, or since 1.56 and when asked for with `stream`, each thing as it goes and then the
//! report.

use std::future::Future;

use api::progress::Message;
use engine::told::Told;
use serde::Serialize;

use super::Request;
use crate::server::failure::Failure;
use crate::server::router::Outcome;
use crate::server::{begin, reply};

pub(super) async fn answer<W, R, T>(call: &Request, work: W) -> Outcome
where
    W: FnOnce(Told) -> R,
    R: Future<Output = engine::Result<T>> + Send + 'static,
    T: Serialize + Send + 'static,
{
    // What is reviewed has to be whole.
    if !call.is_at_least(56) || !call.query.flag("stream") || call.is_reviewed {
        return reply::ok(&work(Told::nobody()).await?);
    }
    let (told, mut gone) = Told::channel();
    let work = tokio::spawn(work(told));
    begin::json_lines(move |messages| async move {
        while let Some(gone) = gone.recv().await {
            // A client that has left hears no more; what it asked for is done all the same.
            let _ = messages.send(Message::status(&gone.id, gone.status)).await;
        }
        let report = work.await.map_err(Failure::internal)??;
        let report = serde_json::to_value(&report).map_err(Failure::internal)?;
        let _ = messages.send(Message::aux(report)).await;
        Ok(())
    })
    .await
}
