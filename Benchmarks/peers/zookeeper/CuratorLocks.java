import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.RetryPolicy;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.retry.ExponentialBackoffRetry;

/** Takes and releases locks with Curator's InterProcessMutex: seq, wide-N and hot-N as `dlock bench` does them. */
public final class CuratorLocks {
    public static void main(String[] args) throws Exception {
        String servers = args[0];
        double warmUp = Double.parseDouble(args[1]);
        double seconds = Double.parseDouble(args[2]);
        for (String workload : Arrays.copyOfRange(args, 3, args.length)) {
            run(servers, workload, warmUp);
            run(servers, workload, seconds);
        }
        System.exit(0);
    }

    private static CuratorFramework client(String servers) throws Exception {
        RetryPolicy retry = new ExponentialBackoffRetry(100, 3);
        CuratorFramework client = CuratorFrameworkFactory.newClient(servers, 10_000, 5_000, retry);
        client.start();
        client.blockUntilConnected();
        return client;
    }

    private static void run(String servers, String workload, double seconds) throws Exception {
        boolean isHot = workload.startsWith("hot-");
        int workers = workload.equals("seq") ? 1 : Integer.parseInt(workload.replaceAll("[^0-9]", ""));
        List<CuratorFramework> clients = new ArrayList<>();
        for (int i = 0; i < (isHot ? workers : 1); i++) clients.add(client(servers));
        String run = "/curator/" + System.nanoTime();
        AtomicInteger inside = new AtomicInteger();
        long[][] waits = new long[workers][];
        long end = System.nanoTime() + (long) (seconds * 1e9);
        Thread[] threads = new Thread[workers];
        long start = System.nanoTime();
        for (int i = 0; i < workers; i++) {
            int worker = i;
            threads[i] = new Thread(() -> {
                long[] mine = new long[1 << 16];
                int count = 0;
                try {
                    String path = isHot ? run + "/hot" : run + "/" + worker;
                    InterProcessMutex mutex = new InterProcessMutex(clients.get(isHot ? worker : 0), path);
                    while (System.nanoTime() < end && count < mine.length) {
                        long asked = System.nanoTime();
                        mutex.acquire();
                        mine[count++] = System.nanoTime() - asked;
                        if (isHot && inside.incrementAndGet() != 1) throw new IllegalStateException("two hold the lock");
                        if (isHot) inside.decrementAndGet();
                        mutex.release();
                    }
                } catch (Exception error) {
                    throw new RuntimeException(error);
                }
                waits[worker] = Arrays.copyOf(mine, count);
            });
            threads[i].start();
        }
        for (Thread thread : threads) thread.join();
        double taken = (System.nanoTime() - start) / 1e9;
        long[] all = Arrays.stream(waits).flatMapToLong(Arrays::stream).sorted().toArray();
        System.out.printf("%s %.1f %d %d%n", workload, all.length / taken,
            all[all.length / 2] / 1000, all[(int) (all.length * 0.99)] / 1000);
        System.out.flush();
        for (CuratorFramework client : clients) client.close();
    }
}
