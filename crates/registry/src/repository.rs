//! One repository: which of its endpoints is asked for what, and whose error counts.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oci::Reference;

use crate::session::Session;
use crate::{Error, Patience, Result};

/// A repository of a registry, with the mirrors in front of it, for one operation. Cheap to clone.
#[derive(Clone)]
pub struct Repository {
    reference: Arc<Reference>,
    places: Arc<[Place]>,
}

/// One endpoint, and whether it is still worth asking.
struct Place {
    session: Session,
    is_dead: AtomicBool,
}

/// What an endpoint has to be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// To say which digest a tag has.
    Resolve,
    /// To give content by digest.
    Pull,
    /// To take content.
    Push,
}

/// One endpoint being asked. Boxed, because whether an `async` closure's future may move to another thread is more than
/// the compiler can prove.
pub(crate) type Attempt<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

impl Repository {
    pub(crate) fn new(reference: &Reference, sessions: Vec<Session>) -> Self {
        let places = sessions.into_iter().map(|session| Place { session, is_dead: AtomicBool::new(false) });
        Self { reference: Arc::new(reference.clone()), places: places.collect() }
    }

    /// The name as users write it, without tag and digest: `debian`, `localhost:5000/app`.
    #[must_use]
    pub fn name(&self) -> String {
        self.reference.familiar_name()
    }

    /// The path inside the registry: `library/debian`. What [`Repository::mount`] of another repository takes.
    #[must_use]
    pub fn path(&self) -> &str {
        self.reference.path()
    }

    /// What will be asked, in order, one line each: for logs.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        self.places.iter().map(|place| place.session.endpoint.to_string()).collect()
    }

    pub(crate) fn patience(&self) -> Patience {
        self.places.first().map(|place| place.session.transport.patience.clone()).unwrap_or_default()
    }

    /// Asks the endpoints in turn until one answers; the last one's error counts, since it is the registry itself. An
    /// endpoint that does not answer at all is not asked again.
    ///
    /// # Errors
    /// The last endpoint's; `Settings` when no endpoint can do what is needed.
    pub(crate) async fn ask<'a, T>(
        &'a self,
        need: Need,
        attempt: impl Fn(&'a Session) -> Attempt<'a, T>,
    ) -> Result<T> {
        let mut failure = None;
        for place in self.capable(need) {
            match attempt(&place.session).await {
                Ok(value) => return Ok(value),
                Err(error) => {
                    if matches!(error, Error::Transport { .. }) {
                        place.is_dead.store(true, Ordering::Relaxed);
                    }
                    failure = Some(self.for_strangers(&place.session, need, error).await);
                }
            }
        }
        Err(failure.unwrap_or_else(|| self.incapable(need)))
    }

    /// A realm that gives a stranger no token is how some registries say that a repository is none of theirs.
    async fn for_strangers(&self, session: &Session, need: Need, error: Error) -> Error {
        let is_refusal = matches!(error, Error::Unauthorized { .. } | Error::Denied { .. });
        let is_stranger = session.authorizer.credentials().is_anonymous();
        if need == Need::Push || !is_refusal || !is_stranger || !session.authorizer.uses_tokens().await {
            return error;
        }
        Error::PullDenied { repository: self.name(), message: error.to_string() }
    }

    /// Stops asking the endpoint that `describe` has in this line, unless it is the only one. Whether another is left.
    pub(crate) fn distrust(&self, line: &str) -> bool {
        for place in self.places.iter().filter(|place| place.session.endpoint.to_string() == line) {
            place.is_dead.store(true, Ordering::Relaxed);
        }
        self.places
            .iter()
            .any(|place| place.session.endpoint.can.pull && !place.is_dead.load(Ordering::Relaxed))
    }

    /// The endpoint that takes content. Pushes do not fail over: half an image here and half there helps nobody.
    pub(crate) fn push_session(&self) -> Result<&Session> {
        let place = self.capable(Need::Push).next();
        place.map(|place| &place.session).ok_or_else(|| self.incapable(Need::Push))
    }

    /// The endpoints that can, the living ones, or all when none is.
    fn capable(&self, need: Need) -> impl Iterator<Item = &Place> {
        let can = move |place: &&Place| {
            let can = place.session.endpoint.can;
            match need {
                Need::Resolve => can.resolve,
                Need::Pull => can.pull,
                Need::Push => can.push,
            }
        };
        let is_dead = |place: &&Place| place.is_dead.load(Ordering::Relaxed);
        let all_dead = self.places.iter().filter(can).all(|place| is_dead(&place));
        self.places.iter().filter(can).filter(move |place| all_dead || !is_dead(place))
    }

    fn incapable(&self, need: Need) -> Error {
        let reason = match need {
            Need::Resolve => "no host may be asked for tags",
            Need::Pull => "no host may be asked for content",
            Need::Push => "no host takes content",
        };
        Error::Settings {
            place: format!("hosts of {}", self.reference.domain()),
            reason: format!("{reason}: see the capabilities in hosts.toml"),
        }
    }
}
