//! `/volumes…`, and what only this engine does with them: `/berth/volumes…`.

use api::media_type::TAR;
use engine::volume::content::{self, ImportOptions};
use http::Method;

use super::{Request, State, no_content};
use crate::server::begin;
use crate::server::blocking::{BodyReader, BodyWriter};
use crate::server::failure::Failure;
use crate::server::reply;
use crate::server::router::{Outcome, Router};
use crate::shape;

pub(super) fn add(router: &mut Router<State>) {
    router.add(Method::GET, "/volumes", list);
    router.add(Method::POST, "/volumes/create", create);
    router.add_since(25, Method::POST, "/volumes/prune", prune);
    router.add(Method::GET, "/berth/volumes/{name*}/export", export);
    router.add(Method::POST, "/berth/volumes/{name*}/import", import);
    router.add(Method::POST, "/berth/volumes/{name*}/clone", clone);
    router.add(Method::POST, "/berth/volumes/{name*}/snapshot", snapshot);
    router.add(Method::POST, "/berth/volumes/{name*}/rename", rename);
    router.add(Method::GET, "/volumes/{name*}", inspect);
    router.add(Method::DELETE, "/volumes/{name*}", remove);
}

async fn list(call: Request) -> Outcome {
    reply::ok(&engine::volume::list(&call.state.engine, &call.query.filters()?).await?)
}

async fn create(mut call: Request) -> Outcome {
    let request = call.json().await?;
    reply::created(&engine::volume::create(&call.state.engine, request).await?)
}

async fn prune(call: Request) -> Outcome {
    let mut filters = call.query.filters()?;
    if !call.is_at_least(42) {
        shape::v1_42::prune_volumes(&mut filters);
    }
    let engine = call.state.engine.clone();
    super::prune::answer(&call, |told| async move { engine::volume::prune(&engine, &filters, &told).await })
        .await
}

async fn inspect(call: Request) -> Outcome {
    reply::ok(&engine::volume::inspect(&call.state.engine, call.param("name")).await?)
}

async fn remove(call: Request) -> Outcome {
    engine::volume::remove(&call.state.engine, call.param("name"), call.query.flag("force")).await?;
    no_content()
}

async fn export(call: Request) -> Outcome {
    let (engine, name) = (call.state.engine.clone(), call.param("name").to_owned());
    begin::bytes(TAR, move |sender| async move {
        Ok(content::export(&engine, &name, BodyWriter::new(sender)).await?)
    })
    .await
}

async fn import(call: Request) -> Outcome {
    let label = |text: String| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (text, String::new()),
    };
    let options = ImportOptions {
        replace: call.query.flag("replace"),
        labels: call.query.all("label").into_iter().map(label).collect(),
    };
    let (engine, name) = (call.state.engine.clone(), call.param("name").to_owned());
    reply::created(&content::import(&engine, &name, options, BodyReader::new(call.body)).await?)
}

async fn clone(mut call: Request) -> Outcome {
    let request = call.json().await?;
    reply::created(&content::clone(&call.state.engine, call.param("name"), request).await?)
}

async fn snapshot(mut call: Request) -> Outcome {
    let request = call.json().await?;
    reply::created(&content::snapshot(&call.state.engine, call.param("name"), request).await?)
}

async fn rename(call: Request) -> Outcome {
    let name = call.query.get("name");
    if name.is_empty() {
        return Err(Failure::invalid("a volume needs a name: ?name=…"));
    }
    reply::ok(&content::rename(&call.state.engine, call.param("name"), name).await?)
}
