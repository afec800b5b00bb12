import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

/** Work for the end-to-end test: what of Java lives in malloc are direct buffers, zip, threads and code. */
public final class Work {
    private Work() {}

    /** Direct buffers come from malloc; each is filled, packed, unpacked and dropped. */
    static long buffers(int seed) throws Exception {
        CRC32 crc = new CRC32();
        for (int size = 16; size < 2_000_000; size = size * 2 + seed) {
            ByteBuffer direct = ByteBuffer.allocateDirect(size);
            for (int i = 0; i < size; i++) {
                direct.put(i, (byte) (i * 31 + seed));
            }
            byte[] plain = new byte[size];
            direct.get(0, plain);
            Deflater deflater = new Deflater(1);
            deflater.setInput(plain);
            deflater.finish();
            byte[] packed = new byte[size + 1024];
            int length = deflater.deflate(packed);
            deflater.end();
            Inflater inflater = new Inflater();
            inflater.setInput(packed, 0, length);
            byte[] again = new byte[size];
            int got = inflater.inflate(again);
            inflater.end();
            if (got != size || !java.util.Arrays.equals(plain, again)) {
                throw new IllegalStateException("size " + size + " changed");
            }
            crc.update(again);
        }
        return crc.getValue();
    }

    static int shortThreads() throws Exception {
        int[] done = new int[400];
        for (int start = 0; start < done.length; start += 40) {
            List<Thread> threads = new ArrayList<>();
            for (int i = start; i < start + 40; i++) {
                final int me = i;
                Thread thread = new Thread(() -> done[me] = ByteBuffer.allocateDirect(me + 1).capacity());
                thread.start();
                threads.add(thread);
            }
            for (Thread thread : threads) {
                thread.join();
            }
        }
        int sum = 0;
        for (int value : done) {
            sum += value;
        }
        return sum;
    }

    public static void main(String[] args) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        Map<Integer, Future<Long>> futures = new TreeMap<>();
        for (int i = 0; i < 24; i++) {
            final int seed = i;
            futures.put(i, pool.submit(() -> buffers(seed)));
        }
        for (Map.Entry<Integer, Future<Long>> entry : futures.entrySet()) {
            System.out.println("buffers " + entry.getKey() + " " + entry.getValue().get());
        }
        pool.shutdown();
        System.out.println("threads " + shortThreads());
        StringBuilder text = new StringBuilder();
        Map<String, Integer> counts = new TreeMap<>();
        for (int i = 0; i < 200_000; i++) {
            counts.merge("key" + (i * 7919L % 1009), 1, Integer::sum);
        }
        counts.forEach((key, value) -> text.append(key).append(value));
        System.out.println("map " + counts.size() + " " + text.toString().hashCode());
    }
}
