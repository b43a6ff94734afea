import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.ExponentialBackoffRetry;

/** Curator's InterProcessMutex, with a listener that stops believing when the connection is suspended or the session lost. */
public final class Curator {
    private static SocketChannel channel;
    private static BufferedReader lines;
    private static final AtomicInteger changes = new AtomicInteger();

    private static synchronized String ask(String line) throws Exception {
        channel.write(ByteBuffer.wrap((line + "\n").getBytes()));
        if (line.startsWith("hello")) return "";
        String answer = lines.readLine();
        if (answer == null) System.exit(0);
        return answer;
    }

    private static void failed(Exception error) throws Exception {
        ask("failed " + error.toString().replace(' ', '_').replace('\n', '_'));
        Thread.sleep(ThreadLocalRandom.current().nextInt(30, 100));
    }

    private static void hold(int lease, int seen) throws Exception {
        String versions = ask("held -");
        ThreadLocalRandom random = ThreadLocalRandom.current();
        Thread.sleep(random.nextDouble() < 0.12 ? lease * 3 / 2 : random.nextInt(20, 150));
        if (changes.get() == seen) ask("write " + versions);
        ask("releasing");
    }

    public static void main(String[] args) throws Exception {
        channel = SocketChannel.open(UnixDomainSocketAddress.of(System.getenv("TORTURE_SOCKET")));
        lines = new BufferedReader(new InputStreamReader(Channels.newInputStream(channel)));
        String name = System.getenv("TORTURE_LOCK");
        ask("hello " + System.getenv("TORTURE_WORKER") + " " + name);
        int lease = (int) (Double.parseDouble(System.getenv("TORTURE_LEASE")) * 1000);
        CuratorFramework client = CuratorFrameworkFactory.newClient(
            System.getenv("TORTURE_BACKEND"), lease, lease, new ExponentialBackoffRetry(100, 3));
        client.getConnectionStateListenable().addListener((from, state) -> {
            if (state == ConnectionState.CONNECTED || state == ConnectionState.RECONNECTED) return;
            changes.incrementAndGet();
            try {
                ask("told " + state);
            } catch (Exception error) {
                System.exit(1);
            }
        });
        client.start();
        InterProcessMutex mutex = new InterProcessMutex(client, "/torture-curator/" + name.replace('/', '-'));
        while (ask("begin").equals("go")) {
            try {
                mutex.acquire();
            } catch (Exception error) {
                failed(error);
                continue;
            }
            int seen = client.getZookeeperClient().isConnected() ? changes.get() : -1;
            if (changes.get() == seen) hold(lease, seen);
            try {
                mutex.release();
                ask("released");
            } catch (Exception error) {
                failed(error);
            }
        }
        client.close();
        System.exit(0);
    }
}
