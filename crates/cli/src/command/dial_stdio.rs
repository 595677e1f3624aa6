//! `system dial-stdio`: the daemon's socket as this program's standard input and output, for a client that runs it
//! through ssh.

use client::Stream;

use crate::failure::Failure;
use crate::grammar::{Command, Operands};
use crate::session::Session;
use crate::stream::stdio::{self, Output};

/// `system dial-stdio`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "",
    about: "Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
    paths: &["system dial-stdio"],
    flags: &[],
    operands: Operands::None,
    interspersed: true,
    run: |session, _| Box::pin(relay(session)),
};

async fn relay(session: &Session) -> Result<i32, Failure> {
    let (mut reader, mut writer) = session.daemon().await?.dial().await?.split();
    let output = Output::start();
    let send = async {
        let mut input = stdio::input();
        while let Some(piece) = input.recv().await {
            let piece = piece.map_err(|error| Failure::text(format!("reading standard input: {error}")))?;
            writer.write(&piece).await?;
        }
        // The end of the input is passed on; answers still come.
        writer.close().await?;
        std::future::pending::<Result<(), Failure>>().await
    };
    let receive = async {
        while let Some(bytes) = reader.chunk().await? {
            if !output.write(Stream::Stdout, bytes).await {
                break;
            }
        }
        Ok(())
    };
    let done = tokio::select! {
        done = receive => done,
        failed = send => failed,
    };
    let written = output.finish();
    done?;
    written.map(|()| 0)
}
