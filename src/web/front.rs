//! The calls that come most, answered before the framework looks for their route: its routing, and what it
//! makes of a request for a handler, cost more than all checks of a key. The routes are in the app as well,
//! and whatever is out of the ordinary goes there.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_http::Request;
use actix_web::Error as ActixError;
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, Response, Service, ServiceFactory, ServiceResponse};
use actix_web::web::Data;

use super::State;
use super::api::{balance, machine, verify};
use super::connections::InUse;

/// An app behind the front.
pub(super) struct Front<A> {
    app: A,
    state: Data<State>,
}

type Result = std::result::Result<Response<BoxBody>, ActixError>;
type Later<T> = Pin<Box<dyn Future<Output = T>>>;

/// An answer, or what will be one.
pub(super) enum Answer {
    /// There at once.
    Now(Option<Response<BoxBody>>),
    /// To be waited for.
    Later(Later<Result>),
}

impl<A> Front<A> {
    /// Puts the front before an app with the same state.
    pub(super) fn new(app: A, state: State) -> Self {
        Self { app, state: Data::new(state) }
    }
}

impl<A> ServiceFactory<Request> for Front<A>
where
    A: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse, Error = ActixError>,
    A::Future: 'static,
    <A::Service as Service<Request>>::Future: 'static,
{
    type Response = Response<BoxBody>;
    type Error = ActixError;
    type Config = AppConfig;
    type Service = Front<A::Service>;
    type InitError = A::InitError;
    type Future = Later<std::result::Result<Self::Service, A::InitError>>;

    fn new_service(&self, config: AppConfig) -> Self::Future {
        let (app, state) = (self.app.new_service(config), self.state.clone());
        Box::pin(async move { Ok(Front { app: app.await?, state }) })
    }
}

impl<S> Service<Request> for Front<S>
where
    S: Service<Request, Response = ServiceResponse, Error = ActixError>,
    S::Future: 'static,
{
    type Response = Response<BoxBody>;
    type Error = ActixError;
    type Future = Answer;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<std::result::Result<(), ActixError>> {
        self.app.poll_ready(cx)
    }

    fn call(&self, req: Request) -> Answer {
        if let Some(organisation) = balance::organisation_of(req.head()) {
            let _in_use = InUse::begin(req.conn_data());
            let handler = || balance::answer_now(req.head(), &self.state, organisation);
            if let Some(res) = machine::answer_now(self.state.settings.secure, handler) {
                return Answer::Now(Some(res.into()));
            }
        } else if verify::is_asked(req.head()) {
            return self.verify(req);
        }
        let answer = self.app.call(req);
        Answer::Later(Box::pin(async move { answer.await.map(Response::from) }))
    }
}

impl<S> Front<S> {
    fn verify(&self, req: Request) -> Answer {
        let (state, in_use) = (self.state.clone(), InUse::begin(req.conn_data()));
        Answer::Later(Box::pin(async move {
            let (head, payload) = req.into_parts();
            let handler = verify::answer(&head, &state, payload);
            let res = machine::answer(state.settings.secure, handler).await;
            drop(in_use);
            Ok(res.into())
        }))
    }
}

impl Future for Answer {
    type Output = Result;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        match self.get_mut() {
            Self::Now(res) => res.take().map_or(Poll::Pending, |res| Poll::Ready(Ok(res))),
            Self::Later(answer) => answer.as_mut().poll(cx),
        }
    }
}
