package import LockKernel
package import NIOCore

/// Makes connections. What it does not make never reaches a network.
package protocol Connector: Sendable {
    /// Begins to make a channel to a server. Called on the event loop, where everything is called back.
    ///
    /// - Parameters:
    ///   - opened: called for each channel that is made, also for those that come to nothing.
    ///   - finished: called once, not before this has returned, unless the attempt is abandoned. Nothing is read from the
    ///     channel before its `autoRead` is set.
    func connect(
        to target: ConnectTarget,
        on eventLoop: any EventLoop,
        opened: @escaping (any Channel) -> Void,
        finished: @escaping (Result<any Channel, any Error>) -> Void
    ) -> any ConnectAttempt
}

/// A connection that is being made.
package protocol ConnectAttempt: AnyObject {
    /// Closes what there is. Nothing more is reported.
    func abandon()
}

/// Connects over the network and to unix sockets, as the system does.
package struct NetworkConnector: Connector {
    package init() {}

    package func connect(
        to target: ConnectTarget,
        on eventLoop: any EventLoop,
        opened: @escaping (any Channel) -> Void,
        finished: @escaping (Result<any Channel, any Error>) -> Void
    ) -> any ConnectAttempt {
        let attempt = NetworkAttempt(eventLoop: eventLoop, opened: opened, finished: finished)
        attempt.start(target)
        return attempt
    }
}

/// The machine's environment with the connections in it.
package struct NetworkEnvironment: Sendable {
    package let machine: Environment
    package let connector: any Connector

    /// The machine's own.
    package static let system = NetworkEnvironment(.system, connector: NetworkConnector())

    package init(_ machine: Environment, connector: any Connector) {
        self.machine = machine
        self.connector = connector
    }
}
