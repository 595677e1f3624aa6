//! Streams that may fail before they begin: then the failure is the answer; once something has been sent, it is told in
//! the stream, or the connection is cut.

use std::future::Future;

use api::progress::Message;
use bytes::Bytes;
use http::StatusCode;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::body::{Body, BodySender};
use super::failure::Failure;
use super::reply::{self, Reply};
use super::router::Outcome;

/// How many messages may wait for a slow client.
const DEPTH: usize = 64;

/// Answers with the bytes that `work` sends. A failure after the first of them cuts the connection.
pub async fn bytes<W, R>(content_type: &'static str, work: W) -> Outcome
where
    W: FnOnce(BodySender) -> R,
    R: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (sender, body) = Body::channel();
    let Body::Stream(mut receiver) = body else { return Err(Failure::internal("a channel is a stream")) };
    let late = sender.clone();
    let working = work(sender);
    let task = tokio::spawn(async move {
        let result = working.await;
        if let Err(failure) = &result {
            tracing::debug!(%failure, "a stream failed");
            // Received only by a client that has begun to read; otherwise the failure itself is the answer.
            let _ = late.send(Err(std::io::Error::other(failure.to_string()))).await;
        }
        result
    });
    match receiver.recv().await {
        Some(Ok(first)) => Ok(reply::stream(content_type, Body::Begun(first, receiver))),
        _ => match task.await {
            Ok(result) => result.map(|()| reply::with_body(StatusCode::OK, content_type, Body::Empty)),
            Err(error) => Err(Failure::internal(error)),
        },
    }
}

/// How messages are written.
#[derive(Clone, Copy, Debug)]
struct Form {
    content_type: &'static str,
    line_end: &'static [u8],
}

/// As Docker's progress has always been.
const PROGRESS: Form = Form { content_type: api::media_type::JSON, line_end: b"\r\n" };
/// As newer streams are.
const LINES: Form = Form { content_type: api::media_type::JSON_LINES, line_end: b"\n" };

/// Answers with the progress messages that `work` sends, each ended by CRLF. A failure after the first of them is
/// the last message.
pub async fn progress<W, R>(work: W) -> Outcome
where
    W: FnOnce(mpsc::Sender<Message>) -> R,
    R: Future<Output = Result<(), Failure>> + Send + 'static,
{
    messages(PROGRESS, work).await
}

/// The same as JSON lines.
pub async fn json_lines<W, R>(work: W) -> Outcome
where
    W: FnOnce(mpsc::Sender<Message>) -> R,
    R: Future<Output = Result<(), Failure>> + Send + 'static,
{
    messages(LINES, work).await
}

async fn messages<W, R>(form: Form, work: W) -> Outcome
where
    W: FnOnce(mpsc::Sender<Message>) -> R,
    R: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(DEPTH);
    let task = tokio::spawn(work(sender));
    let Some(first) = receiver.recv().await else {
        return match task.await {
            Ok(result) => result.map(|()| reply::with_body(StatusCode::OK, form.content_type, Body::Empty)),
            Err(error) => Err(Failure::internal(error)),
        };
    };
    Ok(told(form, Some(first), receiver, task))
}

/// The same, begun at once: every failure is told in the stream, as `docker load` and docker-py expect it.
pub fn progress_at_once<W, R>(work: W) -> Reply
where
    W: FnOnce(mpsc::Sender<Message>) -> R,
    R: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(DEPTH);
    told(PROGRESS, None, receiver, tokio::spawn(work(sender)))
}

fn told(
    form: Form,
    first: Option<Message>,
    mut receiver: mpsc::Receiver<Message>,
    task: JoinHandle<Result<(), Failure>>,
) -> Reply {
    let (lines, body) = Body::channel();
    tokio::spawn(async move {
        let mut next = match first {
            Some(first) => Some(first),
            None => receiver.recv().await,
        };
        while let Some(message) = next {
            if lines.send(encode(form, &message)).await.is_err() {
                return;
            }
            next = receiver.recv().await;
        }
        let failure = match task.await {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure.message,
            Err(error) => error.to_string(),
        };
        // A client that has left needs no last message.
        let _ = lines.send(encode(form, &Message::error(0, &failure))).await;
    });
    reply::stream(form.content_type, body)
}

fn encode(form: Form, message: &Message) -> std::io::Result<Bytes> {
    let mut line = serde_json::to_vec(message)?;
    line.extend_from_slice(form.line_end);
    Ok(line.into())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn print(outcome: Outcome) -> String {
        match outcome {
            Err(failure) => format!("{}: {failure}", failure.status.as_u16()),
            Ok(reply) => match reply.into_body().collect().await {
                Ok(body) => String::from_utf8(body.to_bytes().to_vec()).unwrap(),
                Err(error) => format!("cut: {error}"),
            },
        }
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
    }

    #[test]
    fn a_failure_before_the_first_message_is_the_answer() {
        run(async {
            let failed = progress(|_| async { Err(Failure::invalid("no")) }).await;
            assert_eq!(print(failed).await, "400: no");
            let failed = bytes("a/b", |_| async { Err(Failure::invalid("no")) }).await;
            assert_eq!(print(failed).await, "400: no");
        });
    }

    #[test]
    fn a_failure_may_be_told_in_the_stream_from_the_beginning() {
        run(async {
            let failed = progress_at_once(|_| async { Err(Failure::invalid("no")) });
            assert_eq!(
                print(Ok(failed)).await,
                "{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\"}\r\n"
            );
        });
    }

    #[test]
    fn a_failure_after_the_first_message_is_told_in_the_stream() {
        run(async {
            let failed = progress(|sender| async move {
                sender.send(Message::status("x", "Pulling")).await.unwrap();
                Err(Failure::invalid("no"))
            });
            let expected = "{\"status\":\"Pulling\",\"id\":\"x\"}\r\n{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\"}\r\n";
            assert_eq!(print(failed.await).await, expected);
            let failed = bytes("a/b", |sender| async move {
                sender.send(Ok("x".into())).await.unwrap();
                Err(Failure::invalid("no"))
            });
            assert_eq!(print(failed.await).await, "cut: no");
        });
    }

    #[test]
    fn nothing_at_all_is_an_empty_answer() {
        run(async {
            assert_eq!(print(progress(|_| async { Ok(()) }).await).await, "");
            assert_eq!(print(bytes("a/b", |_| async { Ok(()) }).await).await, "");
        });
    }
}
