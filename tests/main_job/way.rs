//! A way to the API server that a test may close: by cutting it, or by letting nothing through.

use std::{net::SocketAddr, path::PathBuf};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::world::World;

/// What a way to the API server does with what comes along.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Way {
    Open,
    /// Nothing passes and nobody is told.
    Silent,
    /// Connections are closed.
    Cut,
}

/// A way to the API server that can be cut, and the kubeconfig for it.
pub(crate) async fn way(world: &World) -> (watch::Sender<Way>, PathBuf) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let here = listener.local_addr().unwrap();
    let server: SocketAddr = world.plane.url().trim_start_matches("https://").parse().unwrap();
    let kubeconfig =
        std::fs::read_to_string(&world.kubeconfig).unwrap().replace(world.plane.url(), &format!("https://{here}"));
    let path = world.folder.path().join("way.kubeconfig");
    std::fs::write(&path, kubeconfig).unwrap();
    let (sender, state) = watch::channel(Way::Open);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let state = state.clone();
            tokio::spawn(async move {
                let server = TcpStream::connect(server).await.unwrap();
                pass(client, server, state).await;
            });
        }
    });
    (sender, path)
}

async fn pass(client: TcpStream, server: TcpStream, mut state: watch::Receiver<Way>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = tokio::io::copy(&mut from_client, &mut to_server);
    let back = tokio::io::copy(&mut from_server, &mut to_client);
    let both = async { tokio::join!(there, back) };
    tokio::pin!(both);
    loop {
        let now = *state.borrow_and_update();
        tokio::select! {
            _ = &mut both, if now == Way::Open => return,
            changed = state.changed() => if changed.is_err() { return },
            () = std::future::ready(()), if now == Way::Cut => return,
        }
    }
}
