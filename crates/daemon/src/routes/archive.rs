//! `/containers/{id}/archive`, `/export` and `/changes`: files of a container.

use api::media_type::{OCTET_STREAM, TAR};
use api::path_stat::PathStat;
use engine::container::files::{self, PutOptions};
use engine::container::{changes, export};
use http::header::{CONTENT_ENCODING, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use tokio::sync::oneshot;

use super::{Request, State};
use crate::server::begin;
use crate::server::blocking::{BodyReader, BodyWriter};
use crate::server::encoding::{Encoder, Encoding};
use crate::server::failure::Failure;
use crate::server::reply::{self, Reply};
use crate::server::router::{Outcome, Router};

pub(super) fn add(router: &mut Router<State>) {
    router.add(Method::GET, "/containers/{name*}/changes", list_changes);
    router.add(Method::GET, "/containers/{name*}/export", get_export);
    router.add(Method::HEAD, "/containers/{name*}/archive", head);
    router.add(Method::GET, "/containers/{name*}/archive", get);
    router.add(Method::PUT, "/containers/{name*}/archive", put);
}

/// The path in the container.
fn path(call: &Request) -> Result<String, Failure> {
    match call.query.get("path") {
        "" => Err(Failure::invalid("bad parameter: path cannot be empty")),
        path => Ok(path.to_owned()),
    }
}

fn add_stat(reply: &mut Reply, stat: &PathStat) -> Result<(), Failure> {
    let value = stat.to_header().map_err(Failure::internal)?;
    let value = HeaderValue::from_str(&value).map_err(Failure::internal)?;
    let name = HeaderName::from_bytes(PathStat::HEADER.as_bytes()).map_err(Failure::internal)?;
    reply.headers_mut().insert(name, value);
    Ok(())
}

async fn head(call: Request) -> Outcome {
    let stat = files::stat(&call.state.engine, call.param("name"), &path(&call)?).await?;
    let mut reply = reply::empty(StatusCode::OK);
    add_stat(&mut reply, &stat)?;
    Ok(reply)
}

async fn get(call: Request) -> Outcome {
    let (engine, name, path) = (call.state.engine.clone(), call.param("name").to_owned(), path(&call)?);
    let encoding = Encoding::choose(call.header("accept-encoding"));
    let (told, stat) = oneshot::channel();
    let mut reply = begin::bytes(TAR, move |sender| async move {
        // A client that has left needs no facts.
        let tell = move |stat| drop(told.send(stat));
        Ok(files::get(&engine, &name, &path, tell, Encoder::new(encoding, BodyWriter::new(sender))).await?)
    })
    .await?;
    let stat = stat.await.map_err(|_| Failure::internal("an archive began without its facts"))?;
    add_stat(&mut reply, &stat)?;
    if encoding != Encoding::Identity {
        reply.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.word()));
    }
    Ok(reply)
}

async fn put(call: Request) -> Outcome {
    let path = path(&call)?;
    let options = PutOptions {
        no_overwrite_dir_non_dir: call.query.flag("noOverwriteDirNonDir"),
        copy_uid_gid: call.query.flag("copyUIDGID"),
    };
    let (engine, name) = (call.state.engine.clone(), call.param("name").to_owned());
    files::put(&engine, &name, &path, options, BodyReader::new(call.body)).await?;
    Ok(reply::empty(StatusCode::OK))
}

async fn get_export(call: Request) -> Outcome {
    let (engine, name) = (call.state.engine.clone(), call.param("name").to_owned());
    begin::bytes(OCTET_STREAM, move |sender| async move {
        Ok(export::export(&engine, &name, BodyWriter::new(sender)).await?)
    })
    .await
}

async fn list_changes(call: Request) -> Outcome {
    let changes = changes::changes(&call.state.engine, call.param("name")).await?;
    // None at all are `null` in Docker, and clients are generated to expect it.
    reply::ok(&Some(changes).filter(|changes| !changes.is_empty()))
}
