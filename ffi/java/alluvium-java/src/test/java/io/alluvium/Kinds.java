package io.alluvium;

import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Which kinds of objects there are, by a look at the classes: for lists in tests that have to have all of them, those that are yet to come included. */
final class Kinds {
    private Kinds() {}

    /** The names of all classes of objects that have to be closed. */
    static Set<String> all() {
        try (Stream<Path> files = Files.list(
                Path.of(NativeObject.class.getProtectionDomain().getCodeSource().getLocation().toURI()).resolve("io/alluvium"))) {
            return files.map(file -> file.getFileName().toString())
                    .filter(name -> name.endsWith(".class"))
                    .map(name -> load(name.substring(0, name.length() - ".class".length())))
                    .filter(found -> NativeObject.class.isAssignableFrom(found) && !Modifier.isAbstract(found.getModifiers()))
                    .map(Class::getSimpleName)
                    .collect(Collectors.toCollection(TreeSet::new));
        } catch (IOException | URISyntaxException error) {
            throw new AssertionError(error);
        }
    }

    private static Class<?> load(String name) {
        try {
            return Class.forName("io.alluvium." + name, false, Kinds.class.getClassLoader());
        } catch (ClassNotFoundException error) {
            throw new AssertionError(error);
        }
    }

    /** Those that a store is kept open by. */
    static Set<String> ofStores() {
        Set<String> kinds = all();
        kinds.removeAll(List.of("Engine", "MemoryShare", "Store"));
        return kinds;
    }

    /** The kinds of some objects. */
    static Set<String> of(Iterable<? extends NativeObject> objects) {
        Set<String> kinds = new TreeSet<>();
        objects.forEach(object -> kinds.add(object.getClass().getSimpleName()));
        return kinds;
    }

    /** The numbers that the native side has for them. */
    static Set<Integer> numbers() {
        Set<Integer> numbers = new TreeSet<>();
        for (Field field : NativeObject.class.getDeclaredFields()) {
            if (Modifier.isStatic(field.getModifiers()) && field.getType() == int.class) {
                try {
                    numbers.add(field.getInt(null));
                } catch (IllegalAccessException error) {
                    throw new AssertionError(error);
                }
            }
        }
        return numbers;
    }
}
