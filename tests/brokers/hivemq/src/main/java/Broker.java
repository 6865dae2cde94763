import com.hivemq.embedded.EmbeddedHiveMQ;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * A HiveMQ CE broker that lets every client do everything, to try `modelfleet-controller check-broker` and the controller on
 * another real broker. Everything but the listener is as HiveMQ ships it. Usage: Broker PORT FOLDER
 */
public final class Broker {
    private static final String CONFIG = """
            <?xml version="1.0"?>
            <hivemq>
                <listeners>
                    <tcp-listener><port>%s</port><bind-address>127.0.0.1</bind-address></tcp-listener>
                </listeners>
                <anonymous-usage-statistics><enabled>false</enabled></anonymous-usage-statistics>
            </hivemq>
            """;

    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[1]);
        Path config = Files.createDirectories(folder.resolve("conf"));
        Path data = Files.createDirectories(folder.resolve("data"));
        Path extensions = Files.createDirectories(folder.resolve("extensions"));
        Files.writeString(config.resolve("config.xml"), CONFIG.formatted(arguments[0]));
        EmbeddedHiveMQ broker = EmbeddedHiveMQ.builder()
                .withConfigurationFolder(config).withDataFolder(data).withExtensionsFolder(extensions).build();
        broker.start().join();
        System.out.println("listening on 127.0.0.1:" + arguments[0]);
        Thread.currentThread().join();
    }
}
